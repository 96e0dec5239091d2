mod golden_sector;
mod node_restart;
mod protocol_client;
mod store_conformance;
