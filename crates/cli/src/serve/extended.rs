//! The words of `-o`.
//!
//! Every word of memcached 1.6.45 is in one table, with the rule for its value and what becomes of it. Values of
//! words that mean nothing here are checked all the same: a typing error is told where it is made.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use stdx::ByteSize;

use super::tls::TlsWords;

/// What the words have set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// Connections that send nothing for so long are closed.
    pub(super) idle_timeout: Option<Duration>,
    /// Connections above `-c` wait instead of being told.
    pub(super) wait_when_full: bool,
    /// The words of TLS.
    pub(super) tls: TlsWords,
    /// Room for lines that a watcher was not sent yet.
    pub(super) watcher_log_len: Option<ByteSize>,
    /// Room for a worker's lines for watchers.
    pub(super) worker_log_len: Option<ByteSize>,
    /// `stats sizes` is answered from the start.
    pub(super) track_sizes: bool,
    /// `stats` does not name what memcached counts of its crawler.
    pub(super) no_crawler_stats: bool,
    /// `stats` does not name what memcached counts of its LRU lists.
    pub(super) no_lru_stats: bool,
}

/// What may stand behind the word's `=`.
#[derive(Clone, Debug)]
enum Value {
    None,
    Number(RangeInclusive<u64>),
    /// A whole number, or nothing.
    MaybeNumber(RangeInclusive<u64>),
    Decimal,
    OneOf(&'static [&'static str]),
    Text,
}

/// What becomes of a word.
#[derive(Clone, Copy, Debug)]
enum Becomes {
    /// Sets something.
    Set(fn(&mut Extended, u64)),
    /// Sets something to a text.
    SetText(fn(&mut Extended, String)),
    /// The same, and means nothing but names in `stats`; why.
    Names(fn(&mut Extended), &'static str),
    /// It is so anyway.
    SoAlready,
    /// Accepted; why it means nothing here.
    Nothing(&'static str),
    /// Refused; what is missing.
    Refused(&'static str),
}

use Becomes::{Names, Nothing, Refused, Set, SetText, SoAlready};
use Value::{Decimal, MaybeNumber, None as Plain, Number, OneOf, Text};

const SLABS: Becomes = Nothing("there are no slabs");
const NO_LRU: &str = "there are no LRU lists and no crawler";
const LRU: Becomes = Nothing(NO_LRU);
const TABLE: Becomes = Nothing("the hash table is sized by -m");
const DEAD: Becomes = Nothing("memcached ignores it too");
const FLASH: Becomes = Nothing("nothing is stored on flash");
const PROXY: Becomes = Refused("the proxy is a command of its own: doled proxy");

const ANY: RangeInclusive<u64> = 0..=u32::MAX as u64;
const SIZE: RangeInclusive<u64> = 1..=u32::MAX as u64;
/// Up to a gigabyte, for each watcher or worker.
const LOG_KIB: RangeInclusive<u64> = 1..=1 << 20;

/// All words, as memcached groups them.
const WORDS: &[(&str, Value, Becomes)] = &[
    ("maxconns_fast", Plain, Set(|extended, _| extended.wait_when_full = false)),
    ("no_maxconns_fast", Plain, Set(|extended, _| extended.wait_when_full = true)),
    ("idle_timeout", Number(ANY), Set(set_idle_timeout)),
    ("hashpower", Number(12..=32), TABLE),
    ("no_hashexpand", Plain, TABLE),
    ("hash_algorithm", OneOf(&["jenkins", "murmur3", "xxh3"]), Nothing("the hash is always xxh3")),
    ("slab_reassign", Plain, SLABS),
    ("no_slab_reassign", Plain, SLABS),
    ("slab_automove", MaybeNumber(0..=2), SLABS),
    ("no_slab_automove", Plain, SLABS),
    ("slab_automove_ratio", Decimal, SLABS),
    ("slab_automove_window", Number(SIZE), SLABS),
    ("slab_automove_freeratio", Decimal, SLABS),
    ("slab_sizes", Text, SLABS),
    ("slab_chunk_max", Number(SIZE), SLABS),
    ("no_chunked_items", Plain, SLABS),
    ("tail_repair_time", Number(ANY), LRU),
    ("lru_crawler", Plain, Names(|extended| extended.no_crawler_stats = false, NO_LRU)),
    ("no_lru_crawler", Plain, Names(|extended| extended.no_crawler_stats = true, NO_LRU)),
    ("lru_crawler_sleep", Number(0..=1_000_000), LRU),
    ("lru_crawler_tocrawl", Number(ANY), LRU),
    ("lru_maintainer", Plain, Names(|extended| extended.no_lru_stats = false, NO_LRU)),
    ("no_lru_maintainer", Plain, Names(|extended| extended.no_lru_stats = true, NO_LRU)),
    ("hot_lru_pct", Number(1..=80), LRU),
    ("warm_lru_pct", Number(1..=80), LRU),
    ("hot_max_factor", Decimal, LRU),
    ("warm_max_factor", Decimal, LRU),
    ("temporary_ttl", Number(ANY), LRU),
    (
        "watcher_logbuf_size",
        Number(LOG_KIB),
        Set(|extended, kib| extended.watcher_log_len = Some(ByteSize::kib(kib))),
    ),
    (
        "worker_logbuf_size",
        Number(LOG_KIB),
        Set(|extended, kib| extended.worker_log_len = Some(ByteSize::kib(kib))),
    ),
    ("track_sizes", Plain, Set(|extended, _| extended.track_sizes = true)),
    ("inline_ascii_resp", Plain, DEAD),
    ("no_inline_ascii_resp", Plain, DEAD),
    ("resp_obj_mem_limit", Number(ANY), DEAD),
    ("read_buf_mem_limit", Number(ANY), Nothing("buffers have limits of their own")),
    ("modern", Plain, SoAlready),
    ("no_modern", Plain, Nothing("it changes defaults of slabs and LRU lists only")),
    ("drop_privileges", Plain, Refused("system calls cannot be given up yet")),
    ("no_drop_privileges", Plain, SoAlready),
    // Known to memcached's builds for its own tests.
    ("relaxed_privileges", Plain, SoAlready),
    ("sock_cookie_id", Number(ANY), Refused("sockets cannot be marked yet")),
    ("ssl_chain_cert", Text, SetText(|extended, path| extended.tls.chain_cert = Some(path))),
    ("ssl_key", Text, SetText(|extended, path| extended.tls.key = Some(path))),
    ("ssl_keyformat", Text, SetText(|extended, name| extended.tls.keyformat = Some(name))),
    ("ssl_verify_mode", Number(0..=3), Set(|extended, mode| extended.tls.verify_mode = Some(mode))),
    ("ssl_ciphers", Text, SetText(|extended, list| extended.tls.ciphers = Some(list))),
    ("ssl_ca_cert", Text, SetText(|extended, path| extended.tls.ca_cert = Some(path))),
    ("ssl_wbuf_size", Number(SIZE), Set(|extended, kib| extended.tls.wbuf_size = Some(kib))),
    ("ssl_session_cache", Plain, Set(|extended, _| extended.tls.session_cache = true)),
    ("ssl_kernel_tls", Plain, Nothing("records are made in this process")),
    ("ssl_min_version", Number(0..=3), Set(|extended, version| extended.tls.min_version = Some(version))),
    ("ext_path", Text, Refused("values are not stored on flash yet")),
    ("ext_page_size", Number(SIZE), FLASH),
    ("ext_wbuf_size", Number(SIZE), FLASH),
    ("ext_threads", Number(SIZE), FLASH),
    ("ext_io_depth", Number(SIZE), FLASH),
    ("ext_item_size", Number(ANY), FLASH),
    ("ext_item_age", Number(ANY), FLASH),
    ("ext_low_ttl", Number(ANY), FLASH),
    ("ext_recache_rate", Number(ANY), FLASH),
    ("ext_compact_under", Number(ANY), FLASH),
    ("ext_drop_under", Number(ANY), FLASH),
    ("ext_max_sleep", Number(ANY), FLASH),
    ("ext_max_frag", Decimal, FLASH),
    ("ext_drop_unread", Plain, FLASH),
    ("proxy_config", Text, PROXY),
    ("proxy_arg", Text, PROXY),
    ("proxy_uring", Plain, PROXY),
    ("proxy_memprofile", Plain, PROXY),
];

/// Reads the lists of all `-o`; later words win.
pub(super) fn parse(lists: &[String], notes: &mut Vec<String>) -> Result<Extended> {
    let mut extended = Extended::default();
    for text in lists.iter().flat_map(|list| list.split(',')).filter(|text| !text.is_empty()) {
        let (word, value) =
            text.split_once('=').map_or((text, Option::None), |(word, value)| (word, Some(value)));
        let (_, rule, becomes) = WORDS
            .iter()
            .find(|(name, _, _)| *name == word)
            .with_context(|| format!("-o \"{word}\": there is no such option"))?;
        let number = check(rule, word, value)?;
        match becomes {
            Set(set) => set(&mut extended, number),
            SetText(set) => set(&mut extended, value.unwrap_or_default().to_owned()),
            SoAlready => {}
            Names(set, why) => {
                set(&mut extended);
                notes.push(format!("-o {word}: {why}"));
            }
            Nothing(why) => notes.push(format!("-o {word}: {why}")),
            Refused(why) => bail!("-o {word}: {why}"),
        }
    }
    Ok(extended)
}

/// The value as a number, where it is one.
fn check(rule: &Value, word: &str, value: Option<&str>) -> Result<u64> {
    match (rule, value) {
        (Plain, Option::None) | (MaybeNumber(_), Option::None) => Ok(0),
        (Plain, Some(value)) => bail!("-o {word}={value}: this option takes no value"),
        (_, Option::None | Some("")) => bail!("-o {word}: the value is missing; write {word}=VALUE"),
        (Number(range) | MaybeNumber(range), Some(value)) => number(word, value, range),
        (Decimal, Some(value)) => {
            let is_decimal = value.parse::<f64>().is_ok_and(|number| number.is_finite() && number >= 0.0);
            ensure!(is_decimal, "-o {word}={value}: a number such as 0.25, not below 0");
            Ok(0)
        }
        (OneOf(words), Some(value)) => {
            ensure!(words.contains(&value), "-o {word}={value}: one of {}", words.join(", "));
            Ok(0)
        }
        (Text, Some(_)) => Ok(0),
    }
}

fn number(word: &str, value: &str, range: &RangeInclusive<u64>) -> Result<u64> {
    let number = value.parse::<u64>().ok().filter(|number| range.contains(number));
    number.with_context(|| {
        format!("-o {word}={value}: a whole number from {} to {}", range.start(), range.end())
    })
}

fn set_idle_timeout(extended: &mut Extended, seconds: u64) {
    extended.idle_timeout = (seconds > 0).then(|| Duration::from_secs(seconds));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(list: &str, expect: &str) {
        let error = parse(&[list.to_owned()], &mut Vec::new()).expect_err(list);
        assert_eq!(format!("{error:#}"), expect, "{list}");
    }

    #[test]
    fn words_set_note_or_do_nothing() {
        let check = |list: &str, seconds: Option<u64>, noted: &[&str]| {
            let mut notes = Vec::new();
            let extended = parse(&[list.to_owned()], &mut notes).expect(list);
            assert_eq!(extended.idle_timeout, seconds.map(Duration::from_secs), "{list}");
            assert_eq!(notes, noted, "{list}");
        };
        check("", Option::None, &[]);
        check("idle_timeout=30", Some(30), &[]);
        check("idle_timeout=30,idle_timeout=0", Option::None, &[]);
        let waits = |list: &str| parse(&[list.to_owned()], &mut Vec::new()).expect(list).wait_when_full;
        assert!(waits("no_maxconns_fast") && !waits("no_maxconns_fast,maxconns_fast"));
        check("maxconns_fast,modern,no_drop_privileges", Option::None, &[]);
        check("hashpower=20,,idle_timeout=1", Some(1), &["-o hashpower: the hash table is sized by -m"]);
        check("slab_automove", Option::None, &["-o slab_automove: there are no slabs"]);
        check("slab_automove=2", Option::None, &["-o slab_automove: there are no slabs"]);
        check("ext_max_frag=0.8", Option::None, &["-o ext_max_frag: nothing is stored on flash"]);
    }

    #[test]
    fn mistakes_name_the_word_the_value_and_the_rule() {
        refused("foo", "-o \"foo\": there is no such option");
        refused("idle_timeout=5,foo=1", "-o \"foo\": there is no such option");
        refused("idle_timeout", "-o idle_timeout: the value is missing; write idle_timeout=VALUE");
        refused("hashpower=", "-o hashpower: the value is missing; write hashpower=VALUE");
        refused("hashpower=5", "-o hashpower=5: a whole number from 12 to 32");
        refused("hashpower=99", "-o hashpower=99: a whole number from 12 to 32");
        refused("slab_automove=3", "-o slab_automove=3: a whole number from 0 to 2");
        refused("hash_algorithm=md5", "-o hash_algorithm=md5: one of jenkins, murmur3, xxh3");
        refused("hot_max_factor=x", "-o hot_max_factor=x: a number such as 0.25, not below 0");
        refused("maxconns_fast=1", "-o maxconns_fast=1: this option takes no value");
        refused("ssl_verify_mode=4", "-o ssl_verify_mode=4: a whole number from 0 to 3");
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for (list, why) in [
            ("proxy_config=routelib", "the proxy is a command of its own: doled proxy"),
            ("ext_path=/a:1G", "values are not stored on flash yet"),
            ("drop_privileges", "system calls cannot be given up yet"),
        ] {
            let word = list.split('=').next().unwrap_or_default();
            refused(list, &format!("-o {word}: {why}"));
        }
    }

    #[test]
    fn every_word_is_in_the_table_once() {
        for (index, (word, _, _)) in WORDS.iter().enumerate() {
            assert!(WORDS[index + 1..].iter().all(|(other, _, _)| other != word), "{word}");
        }
    }
}
