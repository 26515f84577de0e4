//! One file per family of programs. Order in a program: gate, read, filter, emit.

mod calibrate;
mod fault;
mod figures;
mod http;
mod packet;
mod proc;
mod seed;
mod sock;
