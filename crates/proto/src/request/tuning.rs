//! `slabs …` and `lru …`: memcached's words for its slab classes and its LRU lists. Where there are none, nothing can
//! be tuned: what is well-formed is answered as by a memcached that takes the word and has nothing to move.

use super::{Refusal, Request, is_noreply};
use crate::limits::SLAB_CLASS_MAX;
use crate::reply::text;
use crate::tokens::{Tokens, signed, unsigned};

pub(super) fn decode_slabs(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let noreply = is_noreply(tokens);
    let reply = match [(); 3].map(|()| tokens.next()) {
        [Some(b"reassign"), Some(from), Some(to)] => reassign(from, to),
        [Some(b"automove"), Some(b"freeratio"), Some(share)] if float(share).is_some() => text::OK,
        [Some(b"automove"), Some(b"freeratio"), _] => text::ERROR,
        [Some(b"automove"), Some(level), _] => match unsigned(level) {
            Some(0..=2) => text::OK,
            Some(_) => text::ERROR,
            None => text::BAD_FORMAT,
        },
        _ => text::ERROR,
    };
    Ok(Request::Tune(if noreply { b"" } else { reply }))
}

pub(super) fn decode_lru(mut tokens: Tokens<'_>) -> Result<Request<'_>, Refusal> {
    let noreply = is_noreply(tokens);
    let reply = match (tokens.next(), tokens.next()) {
        (Some(b"mode"), Some(b"flat" | b"segmented")) => text::OK,
        (Some(b"temp_ttl"), Some(seconds)) if signed(seconds).is_some() => text::OK,
        (Some(b"tune"), Some(hot)) => tune(hot, tokens).unwrap_or(text::ERROR),
        _ => text::ERROR,
    };
    Ok(Request::Tune(if noreply { b"" } else { reply }))
}

fn reassign(from: &[u8], to: &[u8]) -> &'static [u8] {
    let class = |number: i64| (1..=SLAB_CLASS_MAX).contains(&number);
    match (signed(from), signed(to)) {
        (Some(from), Some(to)) if from == to => text::SAME_CLASS,
        (Some(from), Some(to)) if class(from) && class(to) => text::NO_SPARE_PAGES,
        (Some(_), Some(_)) => text::BAD_CLASSES,
        _ => text::BAD_FORMAT,
    }
}

/// Shares of the hot and warm lists in percent, then how old their items may become against the cold list's.
fn tune(hot: &[u8], mut rest: Tokens<'_>) -> Option<&'static [u8]> {
    let (hot, warm) = (unsigned(hot)?, unsigned(rest.next()?)?);
    let ages = [float(rest.next()?)?, float(rest.next()?)?];
    Some(if hot.saturating_add(warm) > 80 {
        text::LRU_SHARES_TOO_LARGE
    } else if ages.iter().any(|age| *age <= 0.0) {
        text::LRU_AGES_TOO_SMALL
    } else {
        text::OK
    })
}

fn float(token: &[u8]) -> Option<f64> {
    std::str::from_utf8(token).ok()?.parse().ok()
}
