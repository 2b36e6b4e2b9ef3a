mod server;

mod ground;

mod ledgers;

mod judges;

mod owners;

mod routers;

mod asking;

mod beginning;

mod keeping;

mod faults;
