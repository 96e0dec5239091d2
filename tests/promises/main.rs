mod golden_sector;
mod protocol_client;
mod store_conformance;
