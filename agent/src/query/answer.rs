//! One question in, one answer out.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{
    proto::{
        EdgeAnswer, Filter, FindingsAnswer, StatusAnswer, TargetsAnswer, TopologyAnswer, TraceAnswer,
        TracesAnswer, query_server::Query,
    },
    snapshot::{Numbers, Snapshot},
    view::{Refusal, edge, findings, status, targets, topology, traces},
};
use crate::{
    clock,
    vitals::{Part, Vital, Vitals},
};

/// The service; cheap to clone, once for each listener.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) vitals: Arc<Vitals>,
}

impl Desk {
    fn answer<T>(
        &self,
        request: &Request<Filter>,
        view: impl FnOnce(&Snapshot, &Filter) -> Result<T, Refusal>,
    ) -> Result<Response<T>, Status> {
        self.vitals.add(Vital::Queries, 1);
        self.vitals.beat(Part::Query);
        // The last snapshot of a state that died would be served for ever.
        if self.snapshots.has_changed().is_err() {
            return Err(Status::unavailable("its state has stopped: restart it"));
        }
        // The guard is let go at once: whoever publishes waits for it.
        let snapshot = Arc::clone(&self.snapshots.borrow());
        match view(&snapshot, request.get_ref()) {
            Ok(answer) => Ok(Response::new(answer)),
            Err(refusal) => Err(Status::invalid_argument(refusal.to_string())),
        }
    }
}

#[tonic::async_trait]
impl Query for Desk {
    async fn status(&self, request: Request<Filter>) -> Result<Response<StatusAnswer>, Status> {
        self.answer(&request, |snapshot, _| {
            Ok(status::answer(snapshot, &Numbers::read(&self.vitals), clock::now()))
        })
    }

    async fn targets(&self, request: Request<Filter>) -> Result<Response<TargetsAnswer>, Status> {
        self.answer(&request, targets::answer)
    }

    async fn topology(&self, request: Request<Filter>) -> Result<Response<TopologyAnswer>, Status> {
        self.answer(&request, topology::answer)
    }

    async fn edge(&self, request: Request<Filter>) -> Result<Response<EdgeAnswer>, Status> {
        self.answer(&request, edge::answer)
    }

    async fn traces(&self, request: Request<Filter>) -> Result<Response<TracesAnswer>, Status> {
        self.answer(&request, traces::list)
    }

    async fn trace(&self, request: Request<Filter>) -> Result<Response<TraceAnswer>, Status> {
        self.answer(&request, traces::one)
    }

    async fn findings(&self, request: Request<Filter>) -> Result<Response<FindingsAnswer>, Status> {
        self.answer(&request, findings::answer)
    }
}
