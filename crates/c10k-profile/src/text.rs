//! A profile's text: what it may say, what it extends, and the values that it names. Nothing here looks at the system.

mod error;
mod profile;
mod reasons;
mod schema;
mod shipped;
mod socket_options;
mod value;

pub use error::ProfileError;
pub use profile::{Profile, Source};
pub use schema::{Limits, NamespaceOptions, NofileLimit, Wanted};
pub use socket_options::{Keepalive, Linger, SocketOptions};
pub use value::{PortList, SysctlValue};

pub(crate) use value::{Comparison, integers, one_line};
