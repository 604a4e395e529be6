//! Makes a type one whose objects a manager can own.

/// Makes a type one whose objects a [`Manager`](crate::Manager) can own, and makes the type of its proxies, through which other
/// processes call its methods.
///
/// Each method that is listed must be one of the type. Its arguments and its value travel, so they can be whatever serde
/// takes, but no references and no handles. A proxy has the same methods, each of which returns a
/// `Result` with [`ManagerError`](crate::ManagerError). Methods of `&self` run at the same time, those of `&mut self` one at a time and alone.
/// One that panics is an error of that call only.
///
/// `fn new` comes first. Besides `new`, which makes an object, a proxy has `new_named`, which takes the one of that name if there
/// is one, and `named`, which only finds one. Proxies can be cloned, and can be a part of any message to another process; an object goes
/// when the last of its proxies has gone.
///
/// ```
/// use multiprocessing::{Manager, Program, Registry};
///
/// struct Counter(u64);
///
/// impl Counter {
///     fn new(start: u64) -> Counter {
///         Counter(start)
///     }
///
///     fn add(&mut self, by: u64) -> Result<u64, String> {
///         self.0 = self.0.checked_add(by).ok_or("too much")?;
///         Ok(self.0)
///     }
///
///     fn total(&self) -> u64 {
///         self.0
///     }
/// }
///
/// multiprocessing::managed! {
///     /// A counter of a manager.
///     pub struct CounterProxy for Counter {
///         fn new(start: u64) -> Self;
///         /// Adds to it; gives what it is then.
///         fn add(&mut self, by: u64) -> Result<u64, String>;
///         fn total(&self) -> u64;
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").managed::<Counter>().serve_if_worker();
///     let manager = Manager::start(&Program::current("example")?)?;
///     let counter = CounterProxy::new(&manager, 40)?;
///     let clone = counter.clone();
///     assert_eq!(clone.add(2)?, Ok(42));
///     assert_eq!(clone.add(u64::MAX)?, Err("too much".into()));
///     assert_eq!(counter.total()?, 42);
///     Ok(())
/// }
/// ```
#[macro_export]
macro_rules! managed {
    // Each method in one form, whatever it was written in.
    (@methods $head:tt [$($done:tt)*] $(#[$meta:meta])* fn $name:ident(&self $(, $argument:ident: $type:ty)* $(,)?) -> $value:ty; $($rest:tt)*) => {
        $crate::managed!(@methods $head [$($done)* { [$(#[$meta])*] $name read [$($argument: $type,)*] [$value] }] $($rest)*);
    };
    (@methods $head:tt [$($done:tt)*] $(#[$meta:meta])* fn $name:ident(&mut self $(, $argument:ident: $type:ty)* $(,)?) -> $value:ty; $($rest:tt)*) => {
        $crate::managed!(@methods $head [$($done)* { [$(#[$meta])*] $name write [$($argument: $type,)*] [$value] }] $($rest)*);
    };
    (@methods $head:tt [$($done:tt)*] $(#[$meta:meta])* fn $name:ident(&self $(, $argument:ident: $type:ty)* $(,)?); $($rest:tt)*) => {
        $crate::managed!(@methods $head [$($done)* { [$(#[$meta])*] $name read [$($argument: $type,)*] [()] }] $($rest)*);
    };
    (@methods $head:tt [$($done:tt)*] $(#[$meta:meta])* fn $name:ident(&mut self $(, $argument:ident: $type:ty)* $(,)?); $($rest:tt)*) => {
        $crate::managed!(@methods $head [$($done)* { [$(#[$meta])*] $name write [$($argument: $type,)*] [()] }] $($rest)*);
    };
    (@methods
        { [$($head_meta:tt)*] [$visibility:vis] $proxy:ident $object:ident [$($new_argument:ident: $new_type:ty,)*] }
        [$({ [$($meta:tt)*] $name:ident $access:ident [$($argument:ident: $type:ty,)*] [$value:ty] })*]
    ) => {
        impl $crate::manager::Managed for $object {
            const KIND: &'static str = stringify!($object);
            const SCHEMA: &'static str =
                concat!("new(", $(stringify!($new_type), ",",)* ")" $(, stringify!($access), " ", stringify!($name), "(", $(stringify!($type), ",",)* ")", stringify!($value))*);

            fn create(arguments: &[u8]) -> Result<Self, $crate::manager::Failure> {
                $crate::manager::arguments_of(arguments).map(|($($new_argument,)*): ($($new_type,)*)| $object::new($($new_argument),*))
            }

            fn call(
                object: &::std::sync::RwLock<Self>,
                method: &str,
                arguments: &[u8],
                _: &$crate::manager::Caller<'_>,
            ) -> Result<Vec<u8>, $crate::manager::Failure> {
                match method {
                    $(stringify!($name) => $crate::manager::apply(arguments, |($($argument,)*): ($($type,)*)| -> $value {
                        $crate::manager::$access(object).$name($($argument),*)
                    }),)*
                    _ => Err($crate::manager::Failure::NoMethod(method.to_owned())),
                }
            }
        }

        $($head_meta)*
        #[derive(Clone, Debug)]
        $visibility struct $proxy($crate::manager::Proxy);

        #[allow(dead_code, clippy::allow_attributes, clippy::too_many_arguments, reason = "it has all that any proxy has")]
        impl $proxy {
            /// Makes a new object in the manager.
            ///
            /// # Errors
            /// The manager does not know the type, or has ended.
            $visibility fn new(manager: &$crate::Manager $(, $new_argument: $new_type)*) -> Result<$proxy, $crate::ManagerError> {
                $crate::manager::Proxy::create::<$object>(manager, None, "", &($($new_argument,)*)).map($proxy)
            }

            /// The manager's object of this name, which is made if there is none. It stays when its proxies go, until its name is
            /// [forgotten](multiprocessing::Manager::forget).
            ///
            /// # Errors
            /// There is one of another type; or the manager does not know the type, or has ended.
            $visibility fn new_named(manager: &$crate::Manager, name: &str $(, $new_argument: $new_type)*) -> Result<$proxy, $crate::ManagerError> {
                $crate::manager::Proxy::create::<$object>(manager, Some(name), "", &($($new_argument,)*)).map($proxy)
            }

            /// The manager's object of this name.
            ///
            /// # Errors
            /// There is none, or one of another type; or the manager has ended.
            $visibility fn named(manager: &$crate::Manager, name: &str) -> Result<$proxy, $crate::ManagerError> {
                $crate::manager::Proxy::find::<$object>(manager, name, "").map($proxy)
            }

            $($($meta)*
            $visibility fn $name(&self $(, $argument: $type)*) -> Result<$value, $crate::ManagerError> {
                self.0.call(stringify!($name), &($($argument,)*))
            })*
        }

        $crate::managed!(@travels $proxy);
    };
    (@travels $proxy:ident) => {
        impl $crate::manager::serde::Serialize for $proxy {
            fn serialize<S: $crate::manager::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::manager::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        impl<'de> $crate::manager::serde::Deserialize<'de> for $proxy {
            fn deserialize<D: $crate::manager::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$crate::manager::Proxy as $crate::manager::serde::Deserialize>::deserialize(deserializer).map($proxy)
            }
        }
    };
    (
        $(#[$meta:meta])* $visibility:vis struct $proxy:ident for $object:ident {
            fn new($($argument:ident: $type:ty),* $(,)?) -> Self;
            $($methods:tt)*
        }
    ) => {
        $crate::managed!(@methods { [$(#[$meta])*] [$visibility] $proxy $object [$($argument: $type,)*] } [] $($methods)*);
    };
}
