//! What the agent asks for is enough: the same tests once more, without the rest of root.

use std::{env, process::Command};

use tests::{require_admin, require_bpf};

/// They need no capability of their own: no namespaces are made.
const TESTS: &[&str] = &[
    "sock::each_end_of_a_short_connection_has_its_own_process",
    "sock::what_is_older_than_the_agent_has_an_owner_after_the_first_dump",
    "ring::a_full_ring_is_counted",
    "http::each_request_is_joined_when_each_has_its_own_connection",
    "http::a_trace_goes_through_a_proxy",
];

#[test]
fn four_capabilities_are_enough() {
    require_bpf!();
    require_admin!();
    let caps = "-all,+bpf,+perfmon,+net_admin,+sys_ptrace";
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", caps, "--inh-caps", caps]);
    let output = command
        .arg(env::current_exe().unwrap())
        .args(TESTS)
        .args(["--exact", "--test-threads=1"])
        .env("TASKSCOPE_TESTS_REQUIRE", "bpf")
        .output()
        .unwrap();
    let [out, errors] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    assert!(output.status.success(), "{out}{errors}");
    assert!(out.contains(&format!("{} passed", TESTS.len())), "{out}");
    println!("{} tests with {caps}", TESTS.len());
}
