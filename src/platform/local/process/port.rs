//! The port that an instance shall listen on.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// `port:` of a release in the app file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// A free one of the loopback interface, another one at each start.
    Auto,
    Fixed(u16),
}

impl Port {
    /// Returns a port on which nobody listens at this moment.
    ///
    /// Nothing reserves it until the application has bound it. If another process takes it in
    /// between, the application fails to bind and ends; its next start gets another port (`auto`) or
    /// the error of this function (a fixed one).
    ///
    /// # Errors
    /// `AddrInUse` for a fixed port that is taken; else the system's.
    pub(super) fn choose(self) -> io::Result<u16> {
        let wanted = match self {
            Self::Auto => 0,
            Self::Fixed(port) => port,
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))?;
        Ok(listener.local_addr()?.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_port_that_is_taken_is_refused_and_auto_finds_another() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(Port::Fixed(port).choose().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_ne!(Port::Auto.choose().unwrap(), port);
        drop(taken);
        assert_eq!(Port::Fixed(port).choose().unwrap(), port);
    }
}
