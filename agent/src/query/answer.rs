//! One question in, the bytes of one answer out.
//!
//! Written by hand instead of generated, because answers go out as bytes that may have been made
//! for somebody else before.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use prost::Message;
use tokio::sync::watch;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{BoxFuture, Bytes, Service, http},
    server::{Grpc, NamedService, UnaryService},
};

use super::{
    MAX_ANSWER_BYTES, Question,
    proto::{Filter, TopologyAnswer},
    snapshot::Snapshot,
    view::{Refusal, findings, status, targets, topology, traces},
};
use crate::vitals::{Part, Vital, Vitals};

/// A filter is some hundred bytes.
const MAX_QUESTION_BYTES: usize = 64 << 10;

/// The service; cheap to clone, once for each connection.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) vitals: Arc<Vitals>,
}

impl NamedService for Desk {
    const NAME: &'static str = "taskscope.v1.Query";
}

impl Service<http::Request<Body>> for Desk {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(question) = question(request.uri().path()) else {
            let refusal = Status::unimplemented("this agent is older than its client");
            return Box::pin(async move { Ok(refusal.into_http()) });
        };
        let clerk = Clerk { question, desk: self.clone() };
        Box::pin(async move {
            let mut grpc = Grpc::new(Encoded)
                .max_decoding_message_size(MAX_QUESTION_BYTES)
                .max_encoding_message_size(MAX_ANSWER_BYTES);
            Ok(grpc.unary(clerk, request).await)
        })
    }
}

fn question(path: &str) -> Option<Question> {
    let method = path.strip_prefix('/')?.strip_prefix(Desk::NAME)?.strip_prefix('/')?;
    match method {
        "Status" => Some(Question::Status),
        "Targets" => Some(Question::Targets),
        "Topology" => Some(Question::Topology),
        "Traces" => Some(Question::Traces),
        "Trace" => Some(Question::Trace),
        "Findings" => Some(Question::Findings),
        _ => None,
    }
}

struct Clerk {
    question: Question,
    desk: Desk,
}

impl UnaryService<Filter> for Clerk {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Filter>) -> Self::Future {
        let Desk { snapshots, vitals } = &self.desk;
        vitals.add(Vital::Queries, 1);
        vitals.beat(Part::Query);
        // The guard is let go at once: whoever publishes waits for it.
        let snapshot = Arc::clone(&snapshots.borrow());
        let answer = encode(self.question, &snapshot, request.get_ref());
        std::future::ready(match answer {
            Ok(bytes) => Ok(Response::new(bytes)),
            Err(refusal) => Err(Status::invalid_argument(refusal.to_string())),
        })
    }
}

fn encode(question: Question, snapshot: &Snapshot, filter: &Filter) -> Result<Bytes, Refusal> {
    Ok(match question {
        Question::Status => bytes(&status::answer(snapshot, filter)),
        Question::Targets => bytes(&targets::answer(snapshot, filter)?),
        Question::Topology if *filter == Filter::default() => {
            let TopologyAnswer { head, items, lost } = topology::frame(snapshot, filter);
            let edges = snapshot.encoded.edges(|| {
                let items = topology::all(snapshot, filter)?;
                Ok(bytes(&TopologyAnswer { items, ..TopologyAnswer::default() }))
            })?;
            // The bytes of two messages in a row are those of both together.
            let mut whole = TopologyAnswer { head, items, lost }.encode_to_vec();
            whole.extend_from_slice(&edges);
            whole.into()
        }
        Question::Topology => bytes(&topology::answer(snapshot, filter)?),
        Question::Traces => bytes(&traces::list(snapshot, filter)?),
        Question::Trace => bytes(&traces::one(snapshot, filter)?),
        Question::Findings => bytes(&findings::answer(snapshot, filter)?),
    })
}

fn bytes(answer: &impl Message) -> Bytes {
    answer.encode_to_vec().into()
}

/// Filters come as messages, answers go as bytes.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Filter;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, answer: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(answer.len());
        prost::bytes::BufMut::put(buffer, answer);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Filter;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Filter>, Status> {
        match Filter::decode(buffer) {
            Ok(filter) => Ok(Some(filter)),
            Err(error) => Err(Status::invalid_argument(format!("this is no question: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::samples;

    #[test]
    fn the_whole_topology_is_encoded_once_as_long_as_it_is_the_same() {
        let snapshot = samples::snapshot();
        let first = encode(Question::Topology, &snapshot, &Filter::default()).unwrap();
        let want = topology::answer(&snapshot, &Filter::default()).unwrap();
        assert_eq!(TopologyAnswer::decode(first).unwrap(), want);

        let mut later = samples::snapshot();
        later.encoded = snapshot.encoded.clone();
        later.edges.clear();
        let second = encode(Question::Topology, &later, &Filter::default()).unwrap();
        let second = TopologyAnswer::decode(second).unwrap();
        assert_eq!(second.items, want.items, "the edges were not encoded again");
    }

    #[test]
    fn a_part_of_the_topology_is_never_taken_for_the_whole() {
        let snapshot = samples::snapshot();
        encode(Question::Topology, &snapshot, &Filter::default()).unwrap();
        let one = Filter { limit: Some(1), ..Filter::default() };
        let part = encode(Question::Topology, &snapshot, &one).unwrap();
        assert_eq!(TopologyAnswer::decode(part).unwrap().items.len(), 1);
    }

    #[test]
    fn foreign_paths_are_no_questions() {
        assert_eq!(question("/taskscope.v1.Query/Topology"), Some(Question::Topology));
        for path in ["", "/", "/taskscope.v1.Query/", "/taskscope.v2.Query/Topology", "Topology"] {
            assert_eq!(question(path), None, "{path}");
        }
    }
}
