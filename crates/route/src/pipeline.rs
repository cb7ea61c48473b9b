//! The replies that one connection owes, in order.

use std::collections::VecDeque;

use proto::reply::{DecodedReply, Reply, ReplyKind, decode_reply};

use crate::limits::PIPELINE_MAX;

/// Expected replies of one connection; `T` is whatever finds the asker again.
#[derive(Clone, Debug)]
pub struct Pipeline<T> {
    expected: VecDeque<(ReplyKind, T)>,
}

/// [`PIPELINE_MAX`] replies are awaited already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{PIPELINE_MAX} replies are awaited on this connection already")]
pub struct PipelineFull;

/// What the start of a connection's input holds.
#[derive(Debug)]
pub enum Replied<'a, T> {
    /// Not a whole reply yet; the buffer must hold `at_least` bytes for more.
    NeedMore {
        /// Bytes from the start of the buffer.
        at_least: usize,
    },
    /// One whole reply.
    One {
        /// Its length.
        consumed: usize,
        /// Who asked.
        asker: T,
        /// What it says.
        reply: Reply<'a>,
    },
    /// Bytes that nobody asked for, or that no such request is answered with: the connection is of no more use.
    Bad,
}

impl<T> Default for Pipeline<T> {
    fn default() -> Self {
        Self { expected: VecDeque::new() }
    }
}

impl<T> Pipeline<T> {
    /// Replies awaited.
    pub fn len(&self) -> usize {
        self.expected.len()
    }

    /// True when none is awaited.
    pub fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    /// The asker of the next reply.
    pub fn front(&self) -> Option<&T> {
        self.expected.front().map(|(_, asker)| asker)
    }

    /// Notes a request that is sent now.
    pub fn push(&mut self, kind: ReplyKind, asker: T) -> Result<(), PipelineFull> {
        if self.expected.len() >= PIPELINE_MAX {
            return Err(PipelineFull);
        }
        self.expected.push_back((kind, asker));
        Ok(())
    }

    /// Takes the next reply off the start of `input`, which is not empty.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Replied<'a, T> {
        let Some(&(kind, _)) = self.expected.front() else { return Replied::Bad };
        match decode_reply(kind, input) {
            DecodedReply::NeedMore { at_least } => Replied::NeedMore { at_least },
            DecodedReply::Bad => Replied::Bad,
            DecodedReply::Reply { consumed, reply } => match self.expected.pop_front() {
                Some((_, asker)) => Replied::One { consumed, asker, reply },
                None => Replied::Bad,
            },
        }
    }

    /// Gives up on all replies; their askers in order.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.expected.drain(..).map(|(_, asker)| asker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_find_their_askers_in_order() {
        let mut pipeline = Pipeline::default();
        pipeline.push(ReplyKind::Storage, 1).expect("room");
        pipeline.push(ReplyKind::Values, 2).expect("room");
        let input = b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\nmore";
        let Replied::One { consumed: 8, asker: 1, reply: Reply::Stored } = pipeline.next(input) else {
            panic!()
        };
        let Replied::NeedMore { .. } = pipeline.next(&input[8..12]) else { panic!() };
        let Replied::One { asker: 2, reply: Reply::Values(values), .. } = pipeline.next(&input[8..]) else {
            panic!()
        };
        assert_eq!(values.count(), 1);
        let Replied::Bad = pipeline.next(b"unasked\r\n") else { panic!() };
    }

    #[test]
    fn a_full_pipeline_takes_no_more() {
        let mut pipeline = Pipeline::default();
        for n in 0..PIPELINE_MAX {
            pipeline.push(ReplyKind::Ok, n).expect("room");
        }
        assert_eq!(pipeline.push(ReplyKind::Ok, 0), Err(PipelineFull));
        assert_eq!(pipeline.drain().count(), PIPELINE_MAX);
    }
}
