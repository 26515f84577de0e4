//! target-delay: a link that takes its time.
//!
//! `target-delay LEFT RIGHT MICROSECONDS` makes two TUN interfaces of these names in the network namespace that it
//! was started in, from which they can be moved to others. What is sent at one comes in at the other so much later,
//! never earlier. They are gone when it ends, which it does with its standard input.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the test reads them")]
#![expect(clippy::disallowed_methods, reason = "a delay is told by a clock")]

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsRawFd as _,
    process::ExitCode,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;

/// Larger than the usual MTU.
const MAX_BYTES: usize = 2048;
/// On their way; beyond that the sender's interface is not read, and its own queue fills.
const MAX_PACKETS: usize = 1024;

/// A link that takes its time.
#[derive(Parser)]
struct Args {
    left: String,
    right: String,
    /// Each way.
    microseconds: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("target-delay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(Args { left, right, microseconds }: &Args) -> io::Result<()> {
    let [left, right] = [tun(left)?, tun(right)?];
    let delay = Duration::from_micros(*microseconds);
    for (from, to) in [(&left, &right), (&right, &left)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let (sender, receiver) = sync_channel(MAX_PACKETS);
        thread::spawn(move || take(from, delay, &sender));
        thread::spawn(move || give(to, &receiver));
    }
    println!("ready");
    io::copy(&mut io::stdin().lock(), &mut io::sink()).map(drop)
}

fn take(mut from: File, delay: Duration, to: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = [0; MAX_BYTES];
    while let Ok(n_bytes) = from.read(&mut buffer) {
        let packet = buffer.get(..n_bytes).unwrap_or_default().to_vec();
        if to.send((Instant::now() + delay, packet)).is_err() {
            return;
        }
    }
}

fn give(mut to: File, from: &Receiver<(Instant, Vec<u8>)>) {
    for (due, packet) in from {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // An interface that is not up takes nothing: the packet is lost, as on any other link.
        _ = to.write(&packet);
    }
}

/// An interface whose packets begin with the IP header.
fn tun(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: of zeros it is a request without a name and without flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // It ends with a zero.
    if request.ifr_name.len() <= name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"));
    }
    for (to, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the kernel reads and writes the request, which outlives the call.
    let failed = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if failed == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
}
