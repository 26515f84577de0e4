//! One file per family of programs. Order in a program: gate, read, filter, emit.

mod calibrate;
mod fault;
mod figures;
mod flows;
mod grpc;
mod http;
mod packet;
mod proc;
mod received;
mod seed;
mod sock;
mod sql;
mod udp;
