//! What servers answer: the texts, the encoders of the parts that vary, and the decode of whole replies.

pub mod text;
