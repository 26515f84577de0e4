//! Statements that Go programs give to `database/sql`.
//!
//! begun --answered--> a record
//!       --answered "prepare it first"--> begun --prepared--> begun --ended--> a record
//!
//! A driver may be asked at once, may ask to be asked otherwise (`driver.ErrSkip`), or can only prepare; and
//! the program may have prepared before. Each way ends behind a call that gave the driver's error, which is
//! in a register there. As with requests, a statement is kept by (process, goid).

use core::ptr;

use agent_common::{
    Wire as _, counter,
    event::sql::{Statement, kind},
    layout::{GoProcess, point},
    limits::STATEMENT_BYTES,
};
use aya_ebpf::{Global, macros::uprobe, programs::ProbeContext};

use super::http::{Lineage, key, lineage, random, regs};
use crate::{
    emit,
    gate::{self, Task},
    maps::{CallKey, KeptStatement, STATEMENTS, remove},
    read::{self, GoString},
};

/// The text of `driver.ErrSkip`, which stripped programs name nowhere else.
const SKIP: &[u8; 52] = b"driver: skip fast-path; continue as if unimplemented";

/// A statement is built where it is kept, as a request is.
// SAFETY: zero is a value of every record.
static BLANK: Global<KeptStatement> = Global::new(unsafe { core::mem::zeroed() });

/// `(*DB).queryDC`, which `(*Tx)` calls, too: r8 = *driverConn, r10 and r11 = text.
#[uprobe(multi)]
fn sql_query(ctx: ProbeContext) -> u32 {
    if let Some((task, process)) = gate::watched(point::SQL_QUERY) {
        let regs = regs(&ctx);
        let driver = driver(process, regs.r8);
        begin(&ctx, task, process, kind::QUERY, driver, [regs.r10, regs.r11]);
    }
    0
}

/// `(*DB).execDC`: rdi = *driverConn, r8 and r9 = text.
#[uprobe(multi)]
fn sql_exec(ctx: ProbeContext) -> u32 {
    if let Some((task, process)) = gate::watched(point::SQL_EXEC) {
        let regs = regs(&ctx);
        let driver = driver(process, regs.rdi);
        begin(&ctx, task, process, kind::EXEC, driver, [regs.r8, regs.r9]);
    }
    0
}

/// `(*Stmt).QueryContext` and `(*Stmt).ExecContext`: rax = *Stmt. It has no connection yet.
#[uprobe(multi)]
fn sql_stmt(ctx: ProbeContext) -> u32 {
    if let Some((task, process)) = gate::watched(point::SQL_STMT)
        && let Some(text) = read::user::<GoString>(regs(&ctx).rax + u64::from(process.stmt_query))
    {
        begin(&ctx, task, process, kind::PREPARED, 0, text);
    }
    0
}

/// `rowsiFromStatement` and `resultFromStatement`: rcx = method table of the driver's connection. Only here the
/// statement of a program that prepared it has one, and only now it begins.
#[uprobe(multi)]
fn sql_run(ctx: ProbeContext) -> u32 {
    if let Some((task, process)) = gate::watched(point::SQL_RUN)
        && let Some((_, statement)) = open(&ctx, task, process)
        && statement.kind == kind::PREPARED
    {
        statement.driver_itab = regs(&ctx).rcx;
        statement.began_ktime_ns = emit::now();
    }
    0
}

/// Behind `ctxDriverQuery` and `ctxDriverExec`: rcx and rdi = error.
#[uprobe(multi)]
fn sql_answered(ctx: ProbeContext) -> u32 {
    let Some((task, process)) = gate::watched(point::SQL_ANSWERED) else {
        return 0;
    };
    let regs = regs(&ctx);
    if regs.rcx == 0 || !is_skip(regs.rdi) {
        end(&ctx, task, process, regs.rcx);
    }
    0
}

/// Behind `ctxDriverPrepare` of a statement that the program did not prepare: rcx = error's type.
#[uprobe(multi)]
fn sql_prepared(ctx: ProbeContext) -> u32 {
    if let Some((task, process)) = gate::watched(point::SQL_PREPARED)
        && regs(&ctx).rcx != 0
    {
        end(&ctx, task, process, regs(&ctx).rcx);
    }
    0
}

/// Behind `rowsiFromStatement` and `ctxDriverStmtExec`: rcx = error's type.
#[uprobe(multi)]
fn sql_ended(ctx: ProbeContext) -> u32 {
    if let Some((task, process)) = gate::watched(point::SQL_ENDED) {
        end(&ctx, task, process, regs(&ctx).rcx);
    }
    0
}

/// The method table of the connection that a `*driverConn` has; 0 when it cannot be read.
#[inline(always)]
fn driver(process: &GoProcess, conn: u64) -> u64 {
    read::user(conn + u64::from(process.driver_conn_ci)).unwrap_or(0)
}

/// The error is an `*errors.errorString`, which is a string.
#[inline(always)]
fn is_skip(error: u64) -> bool {
    let Some([text, len]) = read::user::<GoString>(error) else {
        return false;
    };
    if len != SKIP.len() as u64 {
        return false;
    }
    let [a, b, c, d, e, f, g, h, ..] = *SKIP;
    read::user::<[u8; 8]>(text) == Some([a, b, c, d, e, f, g, h])
}

#[inline(always)]
fn begin(ctx: &ProbeContext, task: Task, process: &GoProcess, kind: u8, driver_itab: u64, text: GoString) {
    let Some(key) = key(ctx, task, process) else {
        return;
    };
    let Some(kept) = keep(key) else {
        return emit::add(counter::SQL_NOT_KEPT);
    };
    let [address, len] = text;
    let n_bytes = if len > STATEMENT_BYTES as u64 { STATEMENT_BYTES as u64 } else { len };
    let is_read = n_bytes != 0 && read::user_bytes(kept.text.as_mut_ptr(), n_bytes, address);
    let statement = &mut kept.statement;
    statement.copied_bytes = if is_read { n_bytes as u16 } else { 0 };
    statement.text_bytes = if len > u64::from(u32::MAX) { u32::MAX } else { len as u32 };
    statement.kind = kind;
    statement.driver_itab = driver_itab;
    statement.goid = key.goid;
    statement.span_id = random();
    let Lineage { trace: [first, last], parent_span_id, joined_by } = lineage(ctx, process, key);
    statement.trace_id[..8].copy_from_slice(&first.to_ne_bytes());
    statement.trace_id[8..].copy_from_slice(&last.to_ne_bytes());
    statement.parent_span_id = parent_span_id;
    statement.joined_by = joined_by;
    statement.began_ktime_ns = emit::now();
}

/// Room for a statement, all zero but for its text. What the key had is over.
#[inline(always)]
fn keep(key: CallKey) -> Option<&'static mut KeptStatement> {
    let kept = if let Some(kept) = STATEMENTS.get_ptr_mut(key) {
        emit::add(counter::SQL_NOT_ENDED);
        // SAFETY: the entry stays valid while the program runs.
        unsafe { (*kept).statement.clear() };
        kept
    } else {
        // SAFETY: `Global` is transparent.
        let blank = unsafe { &*ptr::from_ref(&BLANK).cast::<KeptStatement>() };
        STATEMENTS.insert(key, blank, 0).ok().and_then(|()| STATEMENTS.get_ptr_mut(key))?
    };
    // SAFETY: the entry stays valid while the program runs, and only this goroutine looks it up.
    Some(unsafe { &mut *kept })
}

/// This goroutine's statement.
#[inline(always)]
fn open(ctx: &ProbeContext, task: Task, process: &GoProcess) -> Option<(CallKey, &'static mut Statement)> {
    let key = key(ctx, task, process)?;
    let kept = STATEMENTS.get_ptr_mut(key)?;
    // SAFETY: the entry stays valid while the program runs, and only this goroutine looks it up.
    Some((key, unsafe { &mut (*kept).statement }))
}

#[inline(always)]
fn end(ctx: &ProbeContext, task: Task, process: &GoProcess, error_itab: u64) {
    let Some((key, statement)) = open(ctx, task, process) else {
        return emit::add(counter::SQL_END_WITHOUT_BEGIN);
    };
    statement.header = emit::header::<Statement>(task);
    statement.error_itab = error_itab;
    let copied = u64::from(statement.copied_bytes);
    let n_bytes = if copied > STATEMENT_BYTES as u64 { STATEMENT_BYTES as u64 } else { copied };
    emit::copy_with_bytes(statement, n_bytes);
    remove(&STATEMENTS, key);
}
