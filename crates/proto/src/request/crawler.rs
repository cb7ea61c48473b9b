//! `lru_crawler <word> [<argument>]`: memcached's background walk over its items. Where there is none, only the
//! two words that list keys mean anything; the others are checked and accepted.

use super::{Refusal, Request};
use crate::limits::{CRAWLER_CLASS_MAX, CRAWLER_SLEEP_MAX_US};
use crate::reply::text;
use crate::tokens::{Tokens, unsigned_plus};

/// `lru_crawler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LruCrawler {
    /// `enable`, `disable`, `sleep`, `tocrawl`, `crawl`, with a legal argument: answered `OK`.
    Background,
    /// `metadump`, `mgdump`: a list of keys.
    Dump {
        /// How a key is told.
        format: DumpFormat,
        /// Whether items of class 1 are asked for.
        class_1: bool,
    },
}

/// How keys are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpFormat {
    /// `metadump`: one line with all facts, ended by a bare `\n`; `END` after the last.
    Meta,
    /// `mgdump`: a line `mg <key>` for each, to be sent back; `EN` after the last.
    Mg,
}

pub(super) fn decode(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let unknown = Refusal::line(text::ERROR);
    let word = tokens.next().ok_or(unknown)?;
    let argument = tokens.next();
    let number = |word: &[u8]| unsigned_plus(word).ok_or(Refusal::line(text::BAD_FORMAT));
    let crawler = match (word, argument) {
        (b"enable" | b"disable", _) => LruCrawler::Background,
        (b"sleep", Some(micros)) => {
            if number(micros)? > CRAWLER_SLEEP_MAX_US {
                return Err(Refusal::line(text::SLEEP_TOO_LONG));
            }
            LruCrawler::Background
        }
        (b"tocrawl", Some(count)) => number(count).map(|_| LruCrawler::Background)?,
        (b"crawl", Some(classes)) => has_class_1(classes).map(|_| LruCrawler::Background)?,
        (b"metadump", Some(classes)) => {
            LruCrawler::Dump { format: DumpFormat::Meta, class_1: has_class_1(classes)? }
        }
        (b"mgdump", Some(classes)) => {
            LruCrawler::Dump { format: DumpFormat::Mg, class_1: has_class_1(classes)? }
        }
        _ => return Err(unknown),
    };
    Ok(Request::LruCrawler(crawler))
}

/// `all`, `hash`, or numbers with commas between them.
fn has_class_1(classes: &[u8]) -> Result<bool, Refusal> {
    if matches!(classes, b"all" | b"hash") {
        return Ok(true);
    }
    let mut found = false;
    for class in classes.split(|&byte| byte == b',') {
        match unsigned_plus(class) {
            Some(class @ 1..=CRAWLER_CLASS_MAX) => found |= class == 1,
            _ => return Err(Refusal::line(text::BAD_CLASS)),
        }
    }
    Ok(found)
}
