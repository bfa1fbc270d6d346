//! The configuration, in two steps: as typed, as meant.
//!
//! ```text
//!   arguments ─┐
//!   CIRCLET_… ─┼─► Typed (text and where it came from) ─► Config (checked, resolved) ─► the node
//!   --config  ─┘
//! ```
//!
//! One table lists the settings, so that flag, variable, key of the file, default and help cannot differ. The
//! defaults are text, read by the same functions as what is typed, so that the help cannot lie about them either.
//!
//! Nothing here has an effect but reading files: the identity of a node, which may be written, is settled by
//! [`Identity`] when the node starts. A value that cannot be used is a [`ConfigError`], one line that names the value,
//! where it came from and why; the program then exits with code 2.

mod clients;
mod command_line;
mod error;
mod identity;
mod machine;
mod meant;
mod rewrite;
mod secret;
mod settings;
mod typed;
mod value;
mod watching;

pub use clients::{CLIENT_SETTINGS, ClientChange, ClientLimits, ClientMemory, OutputLimit};
pub use command_line::{Asked, Refused, parse};
pub use error::ConfigError;
pub use identity::Identity;
pub use machine::Machine;
pub(crate) use machine::total_memory;
pub(crate) use meant::MOST_CLIENTS;
pub use meant::{Advertise, Announce, Config, DebugAllowed, LogFormat, LogLevel, Ports};
pub use rewrite::rewrite;
pub use secret::Secret;
pub use typed::{Environment, Typed};
pub use value::{Endpoint, bytes};
pub use watching::{WATCH_SETTINGS, Watching, watch_value};
