pub mod duration;
pub mod environment;
pub mod home;
pub mod keys;
