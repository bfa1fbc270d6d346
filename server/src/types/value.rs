//! A value as it lies in the store.

use bytes::Bytes;

/// No string grows beyond this.
pub const MAX_STRING_BYTES: usize = 512 << 20;

/// What the bytes of a value mean. The numbers travel between nodes and never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Bytes as the client gave them; numbers are texts.
    String = 0,
    /// The same, put together by `APPEND` or `SETRANGE`. Only `OBJECT ENCODING` tells the two apart.
    Raw = 1,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Kind> {
        match number {
            0 => Some(Kind::String),
            1 => Some(Kind::Raw),
            _ => None,
        }
    }

    /// The name that `TYPE` answers.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String | Kind::Raw => "string",
        }
    }
}

/// A value, borrowed from its entry.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A string inside its entry's allocation.
    Small(&'a [u8]),
    /// A large string, shared with whatever still sends it.
    Large(&'a Bytes),
}

impl<'a> Value<'a> {
    /// What the bytes mean.
    pub fn kind(self) -> Kind {
        Kind::String
    }

    /// The bytes.
    pub fn as_slice(self) -> &'a [u8] {
        match self {
            Value::Small(bytes) => bytes,
            Value::Large(bytes) => bytes,
        }
    }

    /// How many bytes the value has.
    pub fn len(self) -> usize {
        self.as_slice().len()
    }

    /// Whether the value has no bytes.
    pub fn is_empty(self) -> bool {
        self.as_slice().is_empty()
    }
}

impl PartialEq for Value<'_> {
    /// Where the bytes lie makes no difference.
    fn eq(&self, other: &Value<'_>) -> bool {
        self.as_slice() == other.as_slice()
    }
}
