//! How probes come to a file, and what happens when some cannot.

use std::fs;

use agent::{
    kernel::AttachedFile,
    targets::{
        golang::{PointName, Side, Subject},
        plan::Plan,
        process::Tgid,
    },
};
use agent_common::layout::point;
use tests::{Observer, Target, eventually, paths::built, require_bpf};

/// Between the plan and the attachment, which tell the file by what was opened and not by the process.
#[test]
fn a_process_that_ends_before_its_file_is_attached_harms_no_other() {
    require_bpf!();
    let folder = tempfile::tempdir().unwrap();
    let exe = folder.path().join("http");
    fs::copy(built("http"), &exe).unwrap();
    let args = ["server", "-listen", "127.0.0.1:0"];
    let first = Target::spawn(&exe, args);
    let second = Target::spawn(&exe, args);
    let plan = Observer::plan(first.pid());
    assert!(plan.holds());
    assert!(!Plan { tgid: Tgid(std::process::id()), ..plan.clone() }.holds());
    drop(first);
    assert!(!plan.holds());
    drop(folder);

    let mut observer = Observer::load();
    let _file = observer.attach_planned(&plan);
    observer.watch(second.pid(), plan.process);
    let url = format!("http://{}/echo/", second.address());
    let mut client = Target::held(built("http"), ["client", "-quiet", "-url", &url, "-n", "1"]);
    client.tell("go");
    assert_eq!(client.json()["errors"], 0);
    eventually("a hit", || (observer.hits(second.pid())[point::SERVER_BEGIN] == 1).then_some(()));
}

/// They would cost each request and make no span.
#[test]
fn a_side_without_a_point_that_it_needs_has_no_probes() {
    require_bpf!();
    let server = Target::spawn(built("http"), ["server", "-listen", "127.0.0.1:0"]);
    let plan = Observer::plan(server.pid());
    let mut points = plan.binary.points.clone();
    let end = points.iter_mut().find(|it| it.name == PointName::ServerEnd).unwrap();
    // Behind the end of the file.
    end.file_offset = 1 << 40;
    let mut observer = Observer::load();
    let mut file = AttachedFile::default();
    observer.kernel.attach_file(&plan.exe, &points, &mut file);
    assert!(file.attached().iter().all(|it| it.side() != Side::Server), "{:?}", file.attached());
    assert_eq!(file.refused.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [PointName::ServerEnd]);
    let shown = file.refused[0].1.to_string();
    assert!(shown.contains(built("http").to_str().unwrap()), "{shown}");
    assert_eq!(file.given_up.iter().map(|it| it.subject).collect::<Vec<_>>(), [Subject::Side(Side::Server)]);

    // Another process of the file, and the kernel has changed its mind.
    observer.kernel.attach_file(&plan.exe, &plan.binary.points, &mut file);
    assert_eq!(file.attached().len(), plan.binary.points.len());
    assert!(file.refused.is_empty() && file.given_up.is_empty());
}
