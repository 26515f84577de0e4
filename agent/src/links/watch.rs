//! Interfaces as they come and go: first the news are subscribed to, then all are asked for, so that none
//! falls in between.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{
    Link,
    message::{self, Said},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new, or it changed.
    There(Link),
    /// By its index.
    Gone(u32),
    /// All that are there were named since the last time; others are gone.
    Whole,
}

/// The interfaces of the namespace in which it was made.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    sequence: u32,
    is_asking: bool,
    /// Something was missed while an answer was on its way, which may lack it.
    must_ask_again: bool,
    n_unreadable: u64,
}

impl Watch {
    /// # Errors
    ///
    /// When the kernel refuses the socket.
    pub fn new() -> io::Result<Self> {
        const RTNLGRP_LINK: u32 = 1;
        let mut watch = Self::open()?;
        watch.socket.add_membership(RTNLGRP_LINK)?;
        watch.ask()?;
        Ok(watch)
    }

    /// Without news.
    pub(super) fn once() -> io::Result<Self> {
        let mut watch = Self::open()?;
        watch.ask()?;
        Ok(watch)
    }

    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: 0, is_asking: false, must_ask_again: false, n_unreadable: 0 })
    }

    fn ask(&mut self) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(&message::dump_request(self.sequence), &kernel, 0)?;
        self.is_asking = true;
        Ok(())
    }

    /// Hands on what is there, and does not wait for more.
    ///
    /// # Errors
    ///
    /// When the socket broke. What was missed because too much came at once is asked for again.
    pub fn news(&mut self, mut sink: impl FnMut(Change)) -> io::Result<()> {
        loop {
            match self.read(libc::MSG_DONTWAIT) {
                Ok(said) => self.take(said, &mut sink)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    if self.is_asking {
                        self.must_ask_again = true;
                    } else {
                        self.ask()?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands on all that are there.
    pub(super) fn wait(&mut self, mut sink: impl FnMut(Change)) -> io::Result<()> {
        while self.is_asking {
            let said = self.read(0)?;
            self.take(said, &mut sink)?;
        }
        Ok(())
    }

    /// Messages that could not be read.
    #[must_use]
    pub fn n_unreadable(&self) -> u64 {
        self.n_unreadable
    }

    fn read(&self, flags: libc::c_int) -> io::Result<Said> {
        /// The kernel's messages are cut to what the reader has room for, at most this.
        const MOST_BYTES: usize = 64 << 10;
        let mut datagram = Vec::with_capacity(MOST_BYTES);
        let (_, from) = self.socket.recv_from(&mut datagram, flags)?;
        // Anybody may send to us.
        let is_kernel = from.port_number() == 0;
        Ok(if is_kernel { message::read(&datagram) } else { Said::default() })
    }

    fn take(&mut self, said: Said, sink: &mut impl FnMut(Change)) -> io::Result<()> {
        self.n_unreadable += said.n_unreadable as u64;
        for change in said.changes {
            if change == Change::Whole {
                self.is_asking = false;
                if std::mem::take(&mut self.must_ask_again) {
                    self.ask()?;
                    continue;
                }
            }
            sink(change);
        }
        match said.error {
            Some(error) if error != 0 => {
                self.is_asking = false;
                Err(io::Error::from_raw_os_error(-error))
            }
            _ => Ok(()),
        }
    }
}
