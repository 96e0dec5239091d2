mod golden_sector;
mod http;
mod node_restart;
mod protocol_client;
mod store_conformance;
