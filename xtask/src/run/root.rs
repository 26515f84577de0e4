//! Only the agent needs root: what is built belongs to the user who builds it.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::Context as _;

use super::process::END_WITH_US;
use crate::sh;

/// Who called, if sudo stands between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    fn current() -> anyhow::Result<Self> {
        let own = fs::metadata("/proc/self").context("procfs is not mounted")?;
        Ok(Self { uid: own.uid(), gid: own.gid() })
    }

    /// A program that has the user's rights, not ours.
    pub(crate) fn command(self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        let [uid, gid] = [self.uid, self.gid].map(|it| it.to_string());
        command.args(["--reuid", &uid, "--regid", &gid, "--init-groups"]);
        command.args(END_WITH_US).arg("--").arg(program);
        command
    }

    /// Gives away what root has made.
    pub(crate) fn own(self, path: &Path) -> anyhow::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("cannot give {} to its user", path.display()))
    }
}

impl FromStr for User {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (uid, gid) = text.split_once(':').context("a user is UID:GID")?;
        Ok(Self { uid: uid.parse()?, gid: gid.parse()? })
    }
}

/// Becomes the same command once more, by sudo, with `--built-by` to say that nothing is left to build.
/// Returns at once if we are root already.
pub(crate) fn again_as_root() -> anyhow::Result<()> {
    if sh::is_root() {
        return Ok(());
    }
    let sudo = sh::which("sudo").context("the agent needs root, and there is no sudo: be root yourself")?;
    let User { uid, gid } = User::current()?;
    let (program, arguments) = once_more(&format!("--built-by={uid}:{gid}"))?;
    sh::note("the rest needs root: going on through sudo");
    // sudo forgets the environment, and the folder may be named there.
    let mut target_dir = OsString::from("CARGO_TARGET_DIR=");
    target_dir.push(sh::target_dir());
    let error = Command::new(sudo).arg("env").arg(target_dir).arg(program).args(arguments).exec();
    Err(error).context("cannot start sudo")
}

/// Our own program, and what it was called with and `flag`.
pub(super) fn once_more(flag: &str) -> anyhow::Result<(PathBuf, Vec<OsString>)> {
    let program = env::current_exe().context("our own program has no path")?;
    Ok((program, with_flag(env::args_os().skip(1).collect(), flag)))
}

/// After the subcommand, so that it does not land behind a `--`.
fn with_flag(mut arguments: Vec<OsString>, flag: &str) -> Vec<OsString> {
    let at = arguments.len().min(1);
    arguments.insert(at, flag.into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_passed_on() {
        let words = |it: &[&str]| it.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(with_flag(words(&["demo", "--keep"]), "-x"), words(&["demo", "-x", "--keep"]));
    }

    #[test]
    fn a_user_is_understood() {
        assert_eq!("1000:100".parse::<User>().unwrap(), User { uid: 1000, gid: 100 });
        for bad in ["", "1000", "x:1", "1:", "-1:0"] {
            assert!(bad.parse::<User>().is_err(), "{bad}");
        }
    }
}
