//! The messages of the query API, generated from `proto/taskscope/v1/query.proto`.

#![expect(
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    unused_qualifications,
    reason = "generated"
)]

tonic::include_proto!("taskscope.v1");
