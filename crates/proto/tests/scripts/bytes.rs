//! Bytes as scripts write them, and back.

/// The bytes that a script's text stands for.
pub(crate) fn from_script(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => bytes.push(escape(&mut chars)),
            '{' => {
                let repeat: String = chars.by_ref().take_while(|&char| char != '}').collect();
                let (unit, count) = repeat.split_once('*').expect("{text*count}");
                bytes.extend(from_script(unit).repeat(count.parse().expect("a count")));
            }
            _ => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

fn escape(chars: &mut std::str::Chars<'_>) -> u8 {
    match chars.next() {
        Some('r') => b'\r',
        Some('n') => b'\n',
        Some('s') => b' ',
        Some('x') => {
            let digits: String = chars.take(2).collect();
            u8::from_str_radix(&digits, 16).expect("\\xNN")
        }
        Some(other @ ('\\' | '{')) => other as u8,
        other => panic!("\\{other:?} is no escape"),
    }
}

/// Bytes for people; a long run is cut.
pub(crate) fn show(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 60;
    match bytes.get(..SHOWN_MAX) {
        Some(start) => format!("{}...({})", start.escape_ascii(), bytes.len()),
        None => bytes.escape_ascii().to_string(),
    }
}
