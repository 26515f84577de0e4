//! The agent's socket file.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

use super::server::ServeError;

/// Owner and group may ask.
const SOCKET_MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o755;

/// Takes its file away when dropped.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.0.display(), "Cannot remove the socket.");
        }
    }
}

/// Listens on `path`. What a dead agent left there is replaced, a living one is not disturbed.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ServeError> {
    let failed = |source| ServeError::Bind { socket: path.to_owned(), source };
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(failed)?;
    }
    remove_stale(path)?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    Ok((listener, file))
}

fn remove_stale(path: &Path) -> Result<(), ServeError> {
    let failed = |source| ServeError::Bind { socket: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ServeError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(stream) => Err(ServeError::SecondAgent { socket: path.to_owned(), pid: peer_pid(&stream) }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "Replacing the socket of an agent that is gone.");
            fs::remove_file(path).or_else(gone).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn peer_pid(stream: &UnixStream) -> Option<i32> {
    let stream = stream.try_clone().and_then(|it| {
        it.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(it)
    });
    stream.ok()?.peer_cred().ok()?.pid()
}
