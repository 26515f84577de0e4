//! Names that both halves must spell alike: maps, globals and programs. Those of the programs on points of Go
//! are in the table of points.

pub const MAP_CONNS: &str = "CONNS";
pub const MAP_CONTEXTS: &str = "CONTEXTS";
pub const MAP_COUNTERS: &str = "COUNTERS";
pub const MAP_DOORS: &str = "DOORS";
pub const MAP_EVENTS: &str = "EVENTS";
pub const MAP_FLOWS: &str = "FLOWS";
pub const MAP_FLOW_TOTALS: &str = "FLOW_TOTALS";
pub const MAP_PEERS: &str = "PEERS";
pub const MAP_ROWS: &str = "ROWS";
pub const MAP_SENT: &str = "SENT";
pub const MAP_SERVED: &str = "SERVED";
pub const MAP_SOCKS: &str = "SOCKS";
pub const MAP_STATEMENTS: &str = "STATEMENTS";
pub const MAP_WATCHED: &str = "WATCHED";

pub const GLOBAL_DNS_ON_XDP: &str = "DNS_ON_XDP";
pub const GLOBAL_FILE_LAYOUT: &str = "FILE_LAYOUT";
pub const GLOBAL_KERNEL_LAYOUT: &str = "KERNEL_LAYOUT";
pub const GLOBAL_RESET_REASONS: &str = "RESET_REASONS";
pub const GLOBAL_TCP_LAYOUT: &str = "TCP_LAYOUT";

pub const PROG_CALIBRATE: &str = "calibrate";
pub const PROG_DOOR_FROM_WORKLOAD: &str = "taskscope_from";
pub const PROG_DOOR_NIC_IN: &str = "taskscope_nic";
pub const PROG_DOOR_TO_WORKLOAD: &str = "taskscope_to";
pub const PROG_FLOW_DUMP: &str = "flow_dump";
pub const PROG_FROM_WORKLOAD: &str = "from_workload";
pub const PROG_NIC_IN: &str = "nic_in";
pub const PROG_NIC_IN_TC: &str = "nic_in_tc";
pub const PROG_PARSE: &str = "parse";
pub const PROG_PROC_EXEC: &str = "proc_exec";
pub const PROG_PROC_EXIT: &str = "proc_exit";
pub const PROG_RST_IN: &str = "rst_in";
pub const PROG_RST_OUT: &str = "rst_out";
pub const PROG_SEED: &str = "seed";
pub const PROG_SOCK_CLOSED: &str = "sock_closed";
pub const PROG_SOCK_DUMP: &str = "sock_dump";
pub const PROG_SOCK_NEWS: &str = "sock_news";
pub const PROG_SOCK_READER: &str = "sock_reader";
pub const PROG_SOCK_RECEIVED: &str = "sock_received";
pub const PROG_SOCK_STATE: &str = "sock_state";
pub const PROG_SYNACK_AGAIN: &str = "synack_again";
pub const PROG_TCP_CA: &str = "tcp_ca";
pub const PROG_TCP_RETRANSMIT: &str = "tcp_retransmit";
pub const PROG_TO_WORKLOAD: &str = "to_workload";
