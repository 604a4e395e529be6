//! Types of real programs, beside what pahole, gdb and the compiler say of them.

mod damage;
mod exact;
mod homed;
mod index;
mod layouts;
mod packaging;
mod pahole;
mod programs;
mod rust;
