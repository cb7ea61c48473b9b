//! Bytes to binary requests: mostly whole and right, sometimes with a wrong length, sometimes anything.

use proto::binary::opcode as op;
use proto::binary::{HEADER_LEN, REQUEST_MAGIC};

use crate::input::Input;

/// Requests of one input.
const REQUESTS_MAX: usize = 200;

/// Bytes of all requests together; some are swallowed values.
const LEN_MAX: usize = 256 << 10;

pub(super) fn build(input: &mut Input<'_>) -> Vec<u8> {
    let mut sent = Vec::new();
    for _ in 0..REQUESTS_MAX {
        if input.is_empty() || sent.len() > LEN_MAX {
            break;
        }
        request(input, &mut sent);
    }
    sent
}

fn request(input: &mut Input<'_>, sent: &mut Vec<u8>) {
    let (opcode, how) = (input.byte(), input.byte());
    if how == 0xff {
        let count = usize::from(opcode);
        sent.extend_from_slice(input.bytes(count));
        return;
    }
    let is_sasl = matches!(opcode, op::SASL_LIST | op::SASL_AUTH | op::SASL_STEP);
    let key = match how & 7 {
        0 => Vec::new(),
        _ if is_sasl => b"PLAIN".to_vec(),
        1 => {
            let len = input.byte();
            input.bytes(usize::from(len)).to_vec()
        }
        n => vec![b'k', b'0' + n],
    };
    let extras = input.bytes(extras_len(opcode) + usize::from(how & 8 == 8)).to_vec();
    let value = match how >> 4 & 3 {
        0 => Vec::new(),
        1 => {
            let len = input.byte();
            input.bytes(usize::from(len)).to_vec()
        }
        2 if is_sasl => b"\0user\0password".to_vec(),
        2 => b"12345".to_vec(),
        _ => vec![b'v'; 5 * input.short()],
    };
    let wrong = if how & 0x40 == 0x40 { i32::from(input.byte().cast_signed()) } else { 0 };
    let cas = if how & 0x80 == 0x80 { input.number() } else { 0 };
    let mut header = [0; HEADER_LEN];
    header[0] = REQUEST_MAGIC;
    header[1] = opcode;
    header[2..4].copy_from_slice(&(key.len() as u16).to_be_bytes());
    header[4] = extras.len() as u8;
    let body_len = (extras.len() + key.len() + value.len()) as i32 + wrong;
    header[8..12].copy_from_slice(&body_len.to_be_bytes());
    header[12..16].copy_from_slice(&(sent.len() as u32).to_be_bytes());
    header[16..].copy_from_slice(&cas.to_be_bytes());
    sent.extend_from_slice(&header);
    for part in [extras, key, value] {
        sent.extend_from_slice(&part);
    }
}

/// As the opcode has them.
fn extras_len(opcode: u8) -> usize {
    match opcode {
        op::SET | op::SETQ | op::ADD | op::ADDQ | op::REPLACE | op::REPLACEQ => 8,
        op::INCR | op::INCRQ | op::DECR | op::DECRQ => 20,
        op::TOUCH | op::GAT | op::GATQ | op::GATK | op::GATKQ | op::FLUSH | op::FLUSHQ => 4,
        _ => 0,
    }
}
