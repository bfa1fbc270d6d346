//! A value that nobody should see by accident.

use std::{fmt, path::Path};

use super::typed::read_bounded;

/// No password or secret is longer.
const SECRET_LIMIT_BYTES: usize = 1024;

/// A password or a shared secret. Its text is asked for by name; it prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret with this text, which must not be empty: an empty one protects nothing, and whoever meant none
    /// leaves it out.
    pub fn new(text: &str) -> Result<Secret, String> {
        match text.len() {
            0 => Err("must not be empty".to_owned()),
            length if length > SECRET_LIMIT_BYTES => Err(format!("must be at most {SECRET_LIMIT_BYTES} bytes")),
            _ => Ok(Secret(text.to_owned())),
        }
    }

    /// The secret that a file holds, without the line end behind it.
    pub(super) fn from_file(file: &str) -> Result<Secret, String> {
        let text = read_bounded(Path::new(file), SECRET_LIMIT_BYTES as u64 + 2)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Secret::new(line.strip_suffix('\r').unwrap_or(line)).map_err(|why| format!("the secret in it {why}"))
    }

    /// The text. Compare it in constant time, and let it reach no log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("......")
    }
}
