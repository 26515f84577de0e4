//! The messages of the query API, generated from `proto/taskscope/v1/query.proto`.

#![expect(unused_qualifications, reason = "generated")]

tonic::include_proto!("taskscope.v1");
