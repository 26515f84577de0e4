//! Container, pod and systemd unit from a cgroup path.
//!
//! Paths may be nested in others (kind, a test node), so nothing is anchored at the front.

/// What a path of `/proc/PID/cgroup` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// 64 hexadecimal digits.
    pub container_id: Option<String>,
    /// With dashes; that of a static pod is 32 digits without.
    pub pod_uid: Option<String>,
    /// `name.service`; a scope is not the place of a service.
    pub systemd_unit: Option<String>,
}

const CONTAINER_DIGITS: usize = 64;
const STATIC_POD_DIGITS: usize = 32;
const UUID_CHARS: usize = 36;

/// Reads the whole file; the first line that names a container wins, else the first with a unit.
/// A pod without a container is nobody's place.
#[must_use]
pub fn parse(file: &str) -> Place {
    let paths = || file.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let places = || paths().map(place);
    places()
        .find(|place| place.container_id.is_some())
        .or_else(|| places().find(|place| place.systemd_unit.is_some()))
        .unwrap_or_default()
}

fn place(path: &str) -> Place {
    Place { container_id: container_id(path), pod_uid: pod_uid(path), systemd_unit: systemd_unit(path) }
}

/// The last run of exactly 64 hexadecimal digits, but not that of CRI-O's monitor.
fn container_id(path: &str) -> Option<String> {
    let last = path.rsplit('/').next()?;
    if last.starts_with("crio-conmon-") {
        return None;
    }
    path.split(|it: char| !it.is_ascii_hexdigit())
        .rfind(|run| run.len() == CONTAINER_DIGITS)
        .map(str::to_owned)
}

fn pod_uid(path: &str) -> Option<String> {
    path.match_indices("pod").find_map(|(at, pod)| {
        let rest = &path[at + pod.len()..];
        uuid(rest).or_else(|| static_uid(rest))
    })
}

fn uuid(text: &str) -> Option<String> {
    let text = text.get(..UUID_CHARS)?;
    let is_dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let fits = text.char_indices().all(|(at, it)| match it {
        '-' | '_' => is_dash(at),
        it => !is_dash(at) && it.is_ascii_hexdigit(),
    });
    fits.then(|| text.replace('_', "-"))
}

fn static_uid(text: &str) -> Option<String> {
    let digits = text.split(|it: char| !it.is_ascii_hexdigit()).next()?;
    (digits.len() == STATIC_POD_DIGITS).then(|| digits.to_owned())
}

/// The innermost unit that is one of a service; the session's and the manager's own say nothing.
fn systemd_unit(path: &str) -> Option<String> {
    path.split('/')
        .rev()
        .find(|part| part.ends_with(".service") && !part.starts_with("user@"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f3c1d1e0b7a49b8a2c0d5f6e7a8b9c04f3c1d1e0b7a49b8a2c0d5f6e7a8b9c0";
    const UID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

    #[test]
    fn containerd_by_cgroupfs() {
        check(&format!("/kubepods/burstable/pod{UID}/{ID}"), Some(ID), Some(UID), None);
        check(&format!("/kubepods/pod{UID}/{ID}"), Some(ID), Some(UID), None);
        check(&format!("/nested/kubepods/besteffort/pod{UID}/{ID}"), Some(ID), Some(UID), None);
    }

    #[test]
    fn containerd_by_systemd() {
        let uid = UID.replace('-', "_");
        let path = format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{ID}.scope"
        );
        check(&path, Some(ID), Some(UID), None);
        check(
            &format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{uid}.slice:cri-containerd:{ID}"
            ),
            Some(ID),
            Some(UID),
            None,
        );
    }

    #[test]
    fn other_runtimes() {
        check(&format!("/docker/{ID}"), Some(ID), None, None);
        check(&format!("/system.slice/docker-{ID}.scope"), Some(ID), None, None);
        check(&format!("/libpod_parent/{ID}/libpod-{ID}"), Some(ID), None, None);
        check(&format!("/kubepods/pod{UID}/crio-{ID}.scope"), Some(ID), Some(UID), None);
        // CRI-O's monitor is no container.
        check(&format!("/kubepods/pod{UID}/crio-conmon-{ID}.scope"), None, None, None);
    }

    #[test]
    fn a_static_pod_has_a_hash_for_a_uid() {
        let hash = &ID[..32];
        check(&format!("/kubepods/pod{hash}/{ID}"), Some(ID), Some(hash), None);
    }

    #[test]
    fn a_private_namespace_hides_the_pod() {
        check(&format!("/../cri-containerd-{ID}.scope"), Some(ID), None, None);
        check("/", None, None, None);
    }

    #[test]
    fn systemd_units() {
        check("/system.slice/nginx.service", None, None, Some("nginx.service"));
        check(
            "/system.slice/system-postgresql.slice/postgresql@15-main.service",
            None,
            None,
            Some("postgresql@15-main.service"),
        );
        check(
            "/user.slice/user-0.slice/user@0.service/app.slice/shop.service",
            None,
            None,
            Some("shop.service"),
        );
        check("/user.slice/user-0.slice/session-1.scope", None, None, None);
    }

    #[track_caller]
    fn check(path: &str, container: Option<&str>, pod: Option<&str>, unit: Option<&str>) {
        let got = parse(&format!("12:cpu:/\n0::{path}\n"));
        let want = Place {
            container_id: container.map(str::to_owned),
            pod_uid: pod.map(str::to_owned),
            systemd_unit: unit.map(str::to_owned),
        };
        assert_eq!(got, want, "{path}");
    }
}
