//! The command line of a node: any words are options that keep the rules, or a mistake that is told in words that can
//! be shown. The flags are chosen from those that there are, and from nonsense; what may be a name that somebody would
//! be asked for, or a file that is read, is not among them.

use stdx::ByteSize;

use crate::input::Input;

/// Words of one command line.
const WORDS_MAX: usize = 16;

/// Flags with a value of any text, and others without one.
const FLAGS: &[&str] = &[
    "-p",
    "--port",
    "-m",
    "--memory-limit",
    "-I",
    "--max-item-size",
    "-t",
    "-c",
    "-R",
    "-b",
    "-B",
    "-D",
    "-a",
    "-s",
    "-P",
    "-u",
    "-o",
    "-f",
    "-n",
    "-U",
    "--manager",
    "--node",
    "--data",
    "--advertise",
    "-M",
    "-F",
    "-X",
    "-A",
    "-v",
    "-vv",
    "-d",
    "-r",
    "-k",
    "-V",
    "-h",
    "-C",
    "-L",
    "--managed",
    "--enable-debugtime",
    "--nothing",
];

/// Values that mean something.
const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "11211",
    "64",
    "1k",
    "1m",
    "1g",
    "1024m",
    "1025m",
    "auto",
    "ascii",
    "binary",
    ":",
    "700",
    "777",
    "idle_timeout=5",
    "no_maxconns_fast",
    "hashpower=20",
    "slab_automove=2",
    "modern,idle_timeout=1",
    "a:1,b:2",
    "n1",
    "18446744073709551615",
    "16777216",
    "16777217",
    "0.5",
    "65536",
    "99999999999999999999999999",
    "",
];

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut words = Vec::new();
    while !input.is_empty() && words.len() < WORDS_MAX {
        words.push(word(&mut input));
    }
    match cli::check_serve_flags(&words) {
        Ok(options) => check(&options, &words),
        Err(mistake) => assert!(!mistake.is_empty(), "{words:?} is refused without a word"),
    }
}

fn word(input: &mut Input<'_>) -> String {
    let (kind, n) = (input.byte(), usize::from(input.byte()));
    match kind % 8 {
        0..3 => FLAGS[n % FLAGS.len()].to_owned(),
        3..5 => VALUES[n % VALUES.len()].to_owned(),
        5 | 6 => {
            // An address in numbers, in one word with its flag: nobody is asked for a name.
            let text = input.bytes(n % 24).iter().map(|byte| b"0123456789.:[]*,"[usize::from(byte % 16)]);
            format!("--listen={}", text.map(char::from).collect::<String>())
        }
        _ => {
            let text = String::from_utf8_lossy(input.bytes(n % 32)).replace('\0', "");
            // Neither a flag with an address or a file glued to it, nor a name.
            let is_harmless =
                !text.starts_with('-') && !text.contains(|c: char| c.is_alphanumeric() || c == '.');
            if is_harmless { text } else { format!("={text}/") }
        }
    }
}

fn check(options: &server::ServerOptions, words: &[String]) {
    let server::ServerOptions { memory, item_size_max, threads, requests_per_turn, .. } = options;
    assert!((ByteSize::mib(1)..=ByteSize::mib(1 << 24)).contains(memory), "{words:?}: {memory}");
    assert!(item_size_max.0 >= 1024 && item_size_max.0 <= memory.0 / 2, "{words:?}: {item_size_max}");
    assert!((1..=256).contains(threads) && *requests_per_turn > 0, "{words:?}");
    assert!(options.max_connections > 0 && options.backlog > 0, "{words:?}");
    assert!(options.prefix_delimiter.is_none_or(|byte| byte.is_ascii_graphic()), "{words:?}");
    assert!(options.idle_timeout.is_none_or(|timeout| !timeout.is_zero()), "{words:?}");
    let listens = !options.listen.is_empty() || options.unix_socket.is_some() || !options.udp.is_empty();
    assert!(listens, "{words:?}: it listens nowhere");
}
