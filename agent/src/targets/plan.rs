//! What to do about a process: which points of which file, and what its gate needs to know.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    sync::Arc,
};

use agent_common::{
    Wire as _,
    layout::{GoProcess, Http2, grpc::GrpcProcess},
    limits::TLS_ITABS,
};
use procfs::process::Process as ProcProcess;

use super::{
    elf::ElfError,
    golang::{
        Checked, GoBinary, GoError, GoVersion, GrpcLayout, HttpLayout, SelfCheckError, SqlTypes, load_bias,
        self_check,
    },
    memory::TargetMemory,
    proc::{FileId, ProcessError, exe_link, open_link},
    process::Tgid,
};

/// A process whose requests can be seen. Plain data.
#[derive(Clone, Debug)]
pub struct Plan {
    pub tgid: Tgid,
    pub file: FileId,
    /// The program, opened once: what was read is what the probes go to, whatever the process does.
    pub exe: Arc<File>,
    pub binary: Arc<GoBinary>,
    pub process: GoProcess,
    pub sql: Arc<SqlTypes>,
}

impl Plan {
    /// Whether the process still runs the program that the plan is for.
    #[must_use]
    pub fn holds(&self) -> bool {
        runs(self.tgid, &self.exe)
    }
}

fn runs(tgid: Tgid, exe: &File) -> bool {
    let id = |data: Metadata| (data.dev(), data.ino());
    let of_exe = exe.metadata().map(id);
    fs::metadata(exe_link(tgid)).map(id).is_ok_and(|running| of_exe.is_ok_and(|exe| exe == running))
}

/// Why a process is not watched.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Binary(#[from] Arc<GoError>),
    #[error("built with {version}")]
    SelfCheck { version: GoVersion, source: SelfCheckError },
    #[error("cannot open the process's program")]
    Exe { source: io::Error },
    #[error("the program is in none of the process's mappings")]
    NotMapped,
    #[error("cannot read the process's memory")]
    Memory { source: io::Error },
    #[error("it has neither a server of HTTP or gRPC nor a client of these or of SQL that can be probed")]
    NoPoints(Arc<GoBinary>),
}

impl PlanError {
    /// What it was built with, if that much is known.
    #[must_use]
    pub fn go_version(&self) -> Option<&GoVersion> {
        match self {
            Self::Binary(error) => error.version(),
            Self::SelfCheck { version, .. } => Some(version),
            Self::NoPoints(binary) => Some(&binary.version),
            Self::Process(_) | Self::Exe { .. } | Self::NotMapped | Self::Memory { .. } => None,
        }
    }
}

/// Reads binaries, each once as long as its file is the same.
#[derive(Debug, Default)]
pub struct Planner {
    seen: HashMap<FileKey, Result<Arc<GoBinary>, Arc<GoError>>>,
}

type FileKey = (u64, u64, u64, i64);

/// Files that were looked at and are remembered; beyond, all are forgotten and read anew.
const MAX_FILES: usize = 4096;

impl Planner {
    /// Looks into the binary and into the running process.
    ///
    /// # Errors
    ///
    /// With the reason why the process cannot be watched; "not a Go program" is one.
    pub fn plan(&mut self, tgid: Tgid) -> Result<Plan, PlanError> {
        let exe = File::open(exe_link(tgid)).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => ProcessError::Gone(tgid).into(),
            _ => PlanError::Exe { source },
        })?;
        let data = exe.metadata().map_err(|source| PlanError::Exe { source })?;
        let binary = self.binary(&exe, &data)?;
        if binary.points.is_empty() {
            return Err(PlanError::NoPoints(binary));
        }
        let pid = i32::try_from(tgid.0).map_err(|_| ProcessError::Gone(tgid))?;
        let gone = |_| ProcessError::Gone(tgid);
        let procfs = ProcProcess::new(pid).map_err(gone)?;
        let maps = procfs.maps().map_err(gone)?;
        let path = procfs.exe().map_err(gone)?;
        let bias = load_bias(&maps, &path, &binary).ok_or(PlanError::NotMapped)?;
        let memory = TargetMemory::new(tgid.0).map_err(|source| PlanError::Memory { source })?;
        let checked = self_check(&memory, bias, &binary)
            .map_err(|source| PlanError::SelfCheck { version: binary.version.clone(), source })?;
        let process = gate(&binary.layout, binary.grpc.as_ref(), &checked);
        // Memory was read by process id: if another program runs there by now, it may have been read of that.
        if !runs(tgid, &exe) {
            return Err(ProcessError::Gone(tgid).into());
        }
        let file = FileId::of(&data, &binary);
        Ok(Plan { tgid, file, exe: Arc::new(exe), binary, process, sql: Arc::new(checked.sql) })
    }

    fn binary(&mut self, exe: &File, data: &Metadata) -> Result<Arc<GoBinary>, PlanError> {
        let key = (data.dev(), data.ino(), data.len(), data.mtime());
        if MAX_FILES <= self.seen.len() {
            self.seen.clear();
        }
        Ok(self.remember(key, || GoBinary::open(&open_link(exe)))?)
    }

    fn remember(
        &mut self,
        key: FileKey,
        open: impl FnOnce() -> Result<GoBinary, GoError>,
    ) -> Result<Arc<GoBinary>, Arc<GoError>> {
        if let Some(seen) = self.seen.get(&key) {
            return seen.clone();
        }
        let opened = open().map_err(Arc::new).map(Arc::new);
        // That a file could not be read, as without a free descriptor, says nothing about the file.
        if !matches!(opened.as_deref().map_err(|it| &**it), Err(GoError::Elf(ElfError::Io { .. }))) {
            self.seen.insert(key, opened.clone());
        }
        opened
    }
}

/// What the kernel half needs of a layout.
fn gate(layout: &HttpLayout, grpc: Option<&GrpcLayout>, checked: &Checked) -> GoProcess {
    let mut tls_conn_itabs = [0; TLS_ITABS];
    for (slot, itab) in tls_conn_itabs.iter_mut().zip(&checked.itabs.tls) {
        *slot = *itab;
    }
    GoProcess {
        tcp_conn_itab: checked.itabs.tcp.first().copied().unwrap_or(0),
        tls_conn_itabs,
        g_goid: layout.g_goid,
        g_parent_goid: layout.g_parent_goid,
        request_method: layout.request_method,
        request_url: layout.request_url,
        request_proto_major: layout.request_proto_major,
        request_host: layout.request_host,
        request_uri: layout.request_uri,
        url_host: layout.url_host,
        url_path: layout.url_path,
        response_conn: layout.response_conn,
        response_status: layout.response_status,
        conn_rwc: layout.conn_rwc,
        persist_conn_conn: layout.persist_conn_conn,
        client_status: layout.http_response_status_code,
        tcp_conn_fd: layout.tcp_conn_fd,
        net_fd_sysfd: layout.net_fd_sysfd,
        tls_conn_conn: layout.tls_conn_conn,
        g_panic: layout.g_panic,
        client_proto_major: layout.http_response_proto_major,
        client_proto_minor: layout.http_response_proto_minor,
        request_proto_minor: layout.request_proto_minor,
        http2: http2(layout),
        separate_http2: separate_http2(layout),
        driver_conn_ci: layout.driver_conn_ci,
        stmt_query: layout.stmt_query,
        grpc: grpc.map_or(GrpcProcess::zeroed(), |it| grpc_gate(it, checked)),
        ..GoProcess::zeroed()
    }
}

/// Of net/http.
fn http2(layout: &HttpLayout) -> Http2 {
    Http2 {
        request_method: layout.http2_request_method,
        request_uri: layout.http2_request_uri,
        request_host: layout.http2_request_host,
        writer_state: layout.http2_writer_state,
        state_stream: layout.http2_state_stream,
        state_conn: layout.http2_state_conn,
        state_status: layout.http2_state_status,
        stream_id: layout.http2_stream_id,
        server_conn: layout.http2_server_conn,
        client_stream_conn: layout.http2_client_stream_conn,
        client_stream_id: layout.http2_client_stream_id,
        client_conn: layout.http2_client_conn,
        read_loop_conn: layout.http2_read_loop_conn,
    }
}

/// Of golang.org/x/net, whose requests are those of net/http.
fn separate_http2(layout: &HttpLayout) -> Http2 {
    Http2 {
        request_method: layout.request_method,
        request_uri: layout.request_uri,
        request_host: layout.request_host,
        writer_state: layout.separate_writer_state,
        state_stream: layout.separate_state_stream,
        state_conn: layout.separate_state_conn,
        state_status: layout.separate_state_status,
        stream_id: layout.separate_stream_id,
        server_conn: layout.separate_server_conn,
        client_stream_conn: layout.separate_client_stream_conn,
        client_stream_id: layout.separate_client_stream_id,
        client_conn: layout.separate_client_conn,
        read_loop_conn: layout.separate_read_loop_conn,
    }
}

fn grpc_gate(layout: &GrpcLayout, checked: &Checked) -> GrpcProcess {
    GrpcProcess {
        server_transport_itab: checked.itabs.grpc_server.unwrap_or(0),
        wrapped_conn_itab: checked.itabs.grpc_wrapped.unwrap_or(0),
        stream_id: layout.stream_id,
        stream_method: layout.stream_method,
        stream_state: layout.stream_state,
        stream_is_pointer: layout.stream_is_pointer.into(),
        server_conn: layout.server_conn,
        client_conn: layout.client_conn,
        client_quota: layout.client_quota,
        client_next_id: layout.client_next_id,
        header_host: layout.header_host,
        header_method: layout.header_method,
        status_proto: layout.status_proto,
        status_code: layout.status_code,
        wrapped_conn: layout.wrapped_conn,
        reserved: [0; 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As when a process executes something else between two looks at it.
    #[test]
    fn another_program_is_told_from_the_one_that_was_opened() {
        let this = Tgid(std::process::id());
        let exe = File::open(exe_link(this)).unwrap();
        assert!(runs(this, &exe));
        assert!(!runs(this, &File::open("/bin/sh").unwrap()));
        assert!(!runs(Tgid(u32::MAX), &exe));
    }

    #[test]
    fn what_a_file_is_is_remembered_and_that_it_could_not_be_read_is_not() {
        let mut planner = Planner::default();
        let key = (1, 2, 3, 4);
        let unread = || ElfError::Io { what: "the file".to_owned(), source: io::ErrorKind::Other.into() };
        for _ in 0..2 {
            let answer = planner.remember(key, || Err(unread().into()));
            assert!(matches!(&*answer.unwrap_err(), GoError::Elf(ElfError::Io { .. })));
        }
        assert!(matches!(&*planner.remember(key, || Err(GoError::NotGo)).unwrap_err(), GoError::NotGo));
        let answer = planner.remember(key, || panic!("it is known"));
        assert!(matches!(&*answer.unwrap_err(), GoError::NotGo));
    }
}
