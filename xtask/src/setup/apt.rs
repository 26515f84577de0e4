//! Debian's and Ubuntu's packages.

use std::process::Command;

use crate::sh;

/// The oldest Go that fetches the newer one which a go.mod asks for.
pub(super) const GO_SINCE: (u32, u32) = (1, 24);

/// Installs the packages given as arguments. A policy-rc.d keeps services from starting now;
/// disabling those of just these packages keeps them from starting at the next boot.
const INSTALL: &str = "
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > $policy
    chmod 755 $policy
fi
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \"$@\"
if [ -d /run/systemd/system ]; then
    for package; do
        case $package in redis-server) systemctl disable $package;; esac
    done
fi
";

/// Installs those of `packages` that this system has. Not having one is no error here: the caller
/// looks again, and knows other ways.
pub(super) fn install(packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() || sh::which("apt-get").is_none() {
        return Ok(());
    }
    sh::note("asking apt for its packages, once");
    sh::run(sh::as_root("apt-get").args(["update", "-qq"]))?;
    let available: Vec<_> = packages.iter().copied().filter(|it| is_available(it)).collect();
    if available.is_empty() {
        return Ok(());
    }
    sh::note(&format!("installing {}", available.join(" ")));
    let mut shell = sh::as_root("sh");
    shell.args(["-c", INSTALL, "sh"]).args(available);
    sh::run_quietly(&mut shell)
}

fn is_available(package: &str) -> bool {
    let policy = sh::output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"));
    let Ok(policy) = policy else {
        return false;
    };
    match candidate(&policy) {
        Some(version) if package == "golang-go" => GO_SINCE <= release(version),
        found => found.is_some(),
    }
}

fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|it| it.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then_some(version)
}

/// `2:1.24~2` → (1, 24); what is no such number is older than all.
pub(super) fn release(version: &str) -> (u32, u32) {
    let upstream = version.split_once(':').map_or(version, |(_, it)| it);
    let mut numbers = upstream.split(|it: char| !it.is_ascii_digit()).map(|it| it.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_apt_would_install() {
        let of = |it: &str| format!("golang-go:\n  Installed: (none)\n  Candidate: {it}\n  Version table:\n");
        assert_eq!(candidate(&of("2:1.24~2")), Some("2:1.24~2"));
        assert_eq!(candidate(&of("(none)")), None);
        assert_eq!(candidate(""), None);
    }

    #[test]
    fn reads_the_release_of_debian_s_go() {
        assert_eq!(release("2:1.24~2"), (1, 24));
        assert_eq!(release("2:1.19~1"), (1, 19));
        assert_eq!(release("1.26.1-1ubuntu1"), (1, 26));
        assert_eq!(release("x"), (0, 0));
    }
}
