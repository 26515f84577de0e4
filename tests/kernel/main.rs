//! On a real kernel with real processes: one file for each thing that is looked at.

mod bytes;
mod capabilities;
mod connect;
mod golang;
mod http;
mod netns;
mod packet;
mod residue;
mod ring;
mod sock;
mod truth;
mod verifier;
