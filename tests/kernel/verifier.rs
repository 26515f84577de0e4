//! The cost of each program for the verifier. A jump is a warning long before it is a refusal.

use tests::require_bpf;

/// Program and the most instructions that the verifier may look at: what Linux 6.18 did, and a quarter.
const BUDGET: &[(&str, u32)] = &[
    ("calibrate", 6500),
    ("client_attempted", 500),
    ("client_begin", 1500),
    ("client_conn", 110),
    ("client_conn_closed", 30),
    ("client_retry", 110),
    ("client_sent", 6000),
    ("flow_dump", 30),
    ("from_workload", 225_000),
    ("grpc_client_begin", 620),
    ("grpc_client_closed", 30),
    ("grpc_client_end", 560),
    ("grpc_client_stream", 3800),
    ("grpc_server_begin", 4050),
    ("grpc_server_closed", 30),
    ("grpc_server_end", 390),
    ("http2_client_attempted", 250),
    ("http2_client_conn_closed", 100),
    ("http2_client_retry", 150),
    ("http2_client_sent", 3800),
    ("http2_server_begin", 15_600),
    ("http2_server_conn_closed", 60),
    ("http2_server_end", 355),
    ("nic_in", 57_500),
    ("nic_in_tc", 121_000),
    ("parse", 22_500),
    ("proc_exec", 1800),
    ("proc_exit", 60),
    ("rst_in", 30),
    ("rst_out", 50),
    ("seed", 4400),
    ("server_begin", 12000),
    ("server_deferred", 260),
    ("server_end", 250),
    ("server_hijacked", 250),
    ("server_route", 250),
    ("server_route_121", 250),
    ("sock_closed", 1120),
    ("sock_dump", 2100),
    ("sock_news", 2100),
    ("sock_reader", 3000),
    ("sock_received", 4200),
    ("sock_state", 4800),
    ("sql_answered", 270),
    ("sql_ended", 150),
    ("sql_exec", 500),
    ("sql_prepared", 150),
    ("sql_query", 500),
    ("sql_run", 65),
    ("sql_stmt", 480),
    ("synack_again", 40),
    ("taskscope_from", 10),
    ("taskscope_nic", 10),
    ("taskscope_to", 10),
    ("tcp_ca", 500),
    ("tcp_retransmit", 590),
    ("to_workload", 360_000),
];

#[test]
fn programs_stay_within_their_budget() {
    require_bpf!();
    let costs = agent::kernel::verifier_costs().unwrap_or_else(|error| panic!("{error}\n{error:?}"));
    let names: Vec<&str> = costs.iter().map(|it| it.program.as_str()).collect();
    let budgeted: Vec<&str> = BUDGET.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, budgeted, "each program needs a budget, in alphabetical order");
    for (cost, (name, most)) in costs.iter().zip(BUDGET) {
        println!("{name}: {} of {most}", cost.verified);
    }
    for (cost, (name, most)) in costs.iter().zip(BUDGET) {
        assert!(cost.verified <= *most, "{name}: {} of {most}", cost.verified);
    }
}
