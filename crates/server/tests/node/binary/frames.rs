//! Frames as scripts write them, and back.
//!
//! `<opcode> key=… value=… flags=… exp=… delta=… initial=… cas=… opaque=…`: an opcode's name, or its number as
//! `0x1b`, and whatever is not the default: no key, no value, numbers zero, but a delta of 1. The extras are
//! what the opcode has; `ext=<hex>` gives others. `keylen=`, `extlen=`, `bodylen=`, `magic=`, `datatype=` and
//! `vbucket=` make the header lie; `cut=N` sends the first N bytes only. `raw …` are bytes without a frame.
//!
//! Escapes are `\s` (space), `\r`, `\n`, `\xNN`, `\\`; `{x*N}` is a run of N letters. `$1`, `$2`, … are the cas numbers of
//! the script in the order in which they appeared. A reply is written likewise: opcode, status in hex, the
//! parts it has; a status's own text stands without `value=`.

use std::fmt::Write as _;

use proto::binary::{HEADER_LEN, REPLY_MAGIC, Status, opcode};

const STATUSES: [Status; 9] = [
    Status::NotFound,
    Status::Exists,
    Status::TooLarge,
    Status::InvalidArguments,
    Status::NotStored,
    Status::NonNumeric,
    Status::AuthFailure,
    Status::UnknownCommand,
    Status::OutOfMemory,
];

/// The cas numbers of one run, in the order in which they appeared.
#[derive(Debug, Default)]
pub(crate) struct Names {
    cas: Vec<u64>,
}

impl Names {
    pub(crate) fn encode(&self, line: &str) -> Vec<u8> {
        if let Some(raw) = line.strip_prefix("raw ") {
            return unescape(raw);
        }
        let mut words = line.split(' ');
        let code = code_of(words.next().unwrap());
        let mut frame = Frame { magic: 0x80, delta: 1, ..Frame::default() };
        for word in words {
            let (name, text) = word.split_once('=').unwrap_or_else(|| panic!("{word} in {line}"));
            match name {
                "key" => frame.key = unescape(text),
                "value" => frame.value = unescape(text),
                "ext" => frame.ext = Some(hex(text)),
                "cas" => frame.cas = self.number(text),
                "opaque" => frame.opaque = self.number(text) as u32,
                "flags" => frame.flags = self.number(text) as u32,
                "exp" => frame.exp = Some(self.number(text) as u32),
                "delta" => frame.delta = self.number(text),
                "initial" => frame.initial = self.number(text),
                "keylen" => frame.key_len = Some(self.number(text) as u16),
                "extlen" => frame.ext_len = Some(self.number(text) as u8),
                "bodylen" => frame.body_len = Some(self.number(text) as u32),
                "magic" => frame.magic = self.number(text) as u8,
                "datatype" => frame.datatype = self.number(text) as u8,
                "vbucket" => frame.vbucket = self.number(text) as u16,
                "cut" => frame.cut = Some(self.number(text) as usize),
                _ => panic!("unknown {word} in {line}"),
            }
        }
        frame.bytes(code)
    }

    fn number(&self, text: &str) -> u64 {
        match (text.strip_prefix('$'), text.strip_prefix("0x")) {
            (Some(index), _) => self.cas[index.parse::<usize>().unwrap() - 1],
            (_, Some(digits)) => u64::from_str_radix(digits, 16).unwrap(),
            _ => text.parse().unwrap(),
        }
    }

    /// What came, as scripts write it.
    pub(crate) fn decode(&mut self, mut output: &[u8], is_closed: bool) -> String {
        let mut text = String::new();
        while !output.is_empty() {
            if output[0] != REPLY_MAGIC {
                writeln!(text, "raw {}", escape(output)).unwrap();
                break;
            }
            let reply = ReplyFrame::split_from(&mut output);
            text.push_str(&self.show(&reply));
            text.push('\n');
        }
        if text.is_empty() {
            text.push_str("(nothing)\n");
        }
        if is_closed {
            text.push_str("(closed)\n");
        }
        text.truncate(text.len() - 1);
        text
    }

    fn show(&mut self, reply: &ReplyFrame<'_>) -> String {
        let name = opcode::ALL.iter().find(|(_, code)| *code == reply.opcode);
        let name = name.map_or_else(|| format!("{:#04x}", reply.opcode), |(name, _)| name.to_lowercase());
        let mut text = format!("{name} {:02x}", reply.status);
        let known = STATUSES.into_iter().find(|status| status.code() == reply.status);
        if let Some(status) = known.filter(|status| status.text().as_bytes() == reply.value) {
            write!(text, " {}", status.text()).unwrap();
        }
        match reply.ext.try_into().map(u32::from_be_bytes) {
            Ok(flags) => write!(text, " flags={flags}").unwrap(),
            Err(_) if reply.ext.is_empty() => {}
            Err(_) => panic!("extras {:?}", reply.ext),
        }
        if !reply.key.is_empty() {
            write!(text, " key={}", escape(reply.key)).unwrap();
        }
        let is_number = name.starts_with("incr") || name.starts_with("decr");
        match reply.value.try_into().map(u64::from_be_bytes) {
            Ok(number) if is_number => write!(text, " number={number}").unwrap(),
            _ if known.is_some_and(|status| status.text().as_bytes() == reply.value) => {}
            _ if reply.value.is_empty() => {}
            _ => write!(text, " value={}", escape(reply.value)).unwrap(),
        }
        if reply.cas != 0 {
            let known = self.cas.iter().position(|cas| *cas == reply.cas);
            let index = known.unwrap_or_else(|| {
                self.cas.push(reply.cas);
                self.cas.len() - 1
            });
            write!(text, " cas=${}", index + 1).unwrap();
        }
        if reply.opaque != 0 {
            write!(text, " opaque={:#x}", reply.opaque).unwrap();
        }
        text
    }
}

#[derive(Default)]
struct Frame {
    magic: u8,
    datatype: u8,
    vbucket: u16,
    key: Vec<u8>,
    value: Vec<u8>,
    ext: Option<Vec<u8>>,
    cas: u64,
    opaque: u32,
    flags: u32,
    exp: Option<u32>,
    delta: u64,
    initial: u64,
    key_len: Option<u16>,
    ext_len: Option<u8>,
    body_len: Option<u32>,
    cut: Option<usize>,
}

impl Frame {
    fn extras(&self, code: u8) -> Vec<u8> {
        use opcode as op;
        let exp = self.exp.unwrap_or(0).to_be_bytes();
        match code {
            op::SET | op::ADD | op::REPLACE | op::SETQ | op::ADDQ | op::REPLACEQ => {
                [self.flags.to_be_bytes(), exp].concat()
            }
            op::INCR | op::DECR | op::INCRQ | op::DECRQ => {
                [&self.delta.to_be_bytes()[..], &self.initial.to_be_bytes(), &exp].concat()
            }
            op::TOUCH | op::GAT | op::GATQ | op::GATK | op::GATKQ => exp.to_vec(),
            op::FLUSH | op::FLUSHQ if self.exp.is_some() => exp.to_vec(),
            _ => Vec::new(),
        }
    }

    fn bytes(&self, code: u8) -> Vec<u8> {
        let ext = self.ext.clone().unwrap_or_else(|| self.extras(code));
        let body = [&ext[..], &self.key, &self.value].concat();
        let mut bytes = vec![self.magic, code];
        bytes.extend(self.key_len.unwrap_or(self.key.len() as u16).to_be_bytes());
        bytes.extend([self.ext_len.unwrap_or(ext.len() as u8), self.datatype]);
        bytes.extend(self.vbucket.to_be_bytes());
        bytes.extend(self.body_len.unwrap_or(body.len() as u32).to_be_bytes());
        bytes.extend(self.opaque.to_be_bytes());
        bytes.extend(self.cas.to_be_bytes());
        bytes.extend(body);
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        bytes
    }
}

struct ReplyFrame<'a> {
    opcode: u8,
    status: u16,
    ext: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
    opaque: u32,
    cas: u64,
}

impl<'a> ReplyFrame<'a> {
    /// Takes the first reply away.
    #[track_caller]
    fn split_from(output: &mut &'a [u8]) -> Self {
        assert!(output.len() >= HEADER_LEN, "{} is no reply", output.escape_ascii());
        let (header, rest) = output.split_at(HEADER_LEN);
        assert_eq!((header[0], header[5]), (REPLY_MAGIC, 0), "{}", header.escape_ascii());
        let number = |range: std::ops::Range<usize>| {
            header[range].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let (body, rest) = rest.split_at(number(8..12) as usize);
        let (ext, body) = body.split_at(usize::from(header[4]));
        let (key, value) = body.split_at(number(2..4) as usize);
        *output = rest;
        Self {
            opcode: header[1],
            status: number(6..8) as u16,
            ext,
            key,
            value,
            opaque: number(12..16) as u32,
            cas: number(16..24),
        }
    }
}

fn code_of(name: &str) -> u8 {
    if let Some(digits) = name.strip_prefix("0x") {
        return u8::from_str_radix(digits, 16).unwrap();
    }
    let known = opcode::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.unwrap_or_else(|| panic!("no opcode {name}")).1
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('s') => bytes.push(b' '),
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('x') => bytes.extend(hex(&chars.by_ref().take(2).collect::<String>())),
                other => bytes.extend(other.unwrap().to_string().bytes()),
            },
            '{' => {
                let run: String = chars.by_ref().take_while(|&char| char != '}').collect();
                let (unit, count) = run.split_once('*').unwrap();
                bytes.extend(unit.repeat(count.parse().unwrap()).bytes());
            }
            _ => bytes.extend(char.to_string().bytes()),
        }
    }
    bytes
}

/// Long runs of one letter are written short.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        match (run[0], run.len()) {
            (letter, 20..) => write!(text, "{{{}*{}}}", char::from(letter), run.len()).unwrap(),
            (b' ', count) => text.push_str(&"\\s".repeat(count)),
            (byte, count) => text.push_str(&byte.escape_ascii().to_string().repeat(count)),
        }
    }
    text
}
