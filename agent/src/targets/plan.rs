//! What to do about a process: which points of which file, and what its gate needs to know.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use agent_common::{Wire as _, layout::GoProcess, limits::TLS_ITABS};
use procfs::process::Process as ProcProcess;

use super::{
    golang::{Checked, GoBinary, GoError, HttpLayout, SelfCheckError, load_bias, self_check},
    memory::TargetMemory,
    proc::{FileId, ProcessError, exe_link},
    process::Tgid,
};

/// A process whose requests can be seen. Plain data.
#[derive(Clone, Debug)]
pub struct Plan {
    pub tgid: Tgid,
    pub file: FileId,
    /// A magic link, good as long as the process lives.
    pub path: PathBuf,
    pub binary: Arc<GoBinary>,
    pub process: GoProcess,
}

/// Why a process is not watched.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Binary(#[from] Arc<GoError>),
    #[error(transparent)]
    SelfCheck(#[from] SelfCheckError),
    #[error("the program is in none of the process's mappings")]
    NotMapped,
    #[error("cannot read the process's memory")]
    Memory { source: std::io::Error },
    #[error("it has neither an HTTP server nor an HTTP client that can be probed")]
    NoPoints(Arc<GoBinary>),
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
        let path = exe_link(tgid);
        let binary = self.binary(tgid, &path)?;
        if binary.points.is_empty() {
            return Err(PlanError::NoPoints(binary));
        }
        let pid = i32::try_from(tgid.0).map_err(|_| ProcessError::Gone(tgid))?;
        let gone = |_| ProcessError::Gone(tgid);
        let procfs = ProcProcess::new(pid).map_err(gone)?;
        let maps = procfs.maps().map_err(gone)?;
        let exe = procfs.exe().map_err(gone)?;
        let bias = load_bias(&maps, &exe, &binary).ok_or(PlanError::NotMapped)?;
        let memory = TargetMemory::new(tgid.0).map_err(|source| PlanError::Memory { source })?;
        let checked = self_check(&memory, bias, &binary)?;
        let process = gate(&binary.layout, &checked);
        let file = FileId::of(tgid, &binary)?;
        Ok(Plan { tgid, file, path, binary, process })
    }

    fn binary(&mut self, tgid: Tgid, path: &std::path::Path) -> Result<Arc<GoBinary>, PlanError> {
        use std::os::unix::fs::MetadataExt as _;
        let data = std::fs::metadata(path).map_err(|_| ProcessError::Gone(tgid))?;
        let key = (data.dev(), data.ino(), data.len(), data.mtime());
        if MAX_FILES <= self.seen.len() {
            self.seen.clear();
        }
        let seen =
            self.seen.entry(key).or_insert_with(|| GoBinary::open(path).map(Arc::new).map_err(Arc::new));
        seen.clone().map_err(PlanError::from)
    }
}

/// What the kernel half needs of a layout.
fn gate(layout: &HttpLayout, checked: &Checked) -> GoProcess {
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
        ..GoProcess::zeroed()
    }
}
