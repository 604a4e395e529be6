//! Shorthands for what is nearly always written in the same way.

/// Makes a plain function one that a worker can run: a [`Function`](crate::Function) of the function's own name, without a
/// set-up, whose argument is the function's one argument, or the tuple of its arguments if it has none or several. One that returns a `Result` fails its task with its error's text.
///
/// ```
/// multiprocessing::function! {
///     /// The square of a number.
///     pub fn square(number: u64) -> u64 {
///         number * number
///     }
/// }
///
/// multiprocessing::function! {
///     fn halve(number: u64) -> Result<u64, String> {
///         if number % 2 == 0 { Ok(number / 2) } else { Err(format!("{number} is odd")) }
///     }
/// }
///
/// assert_eq!(<square as multiprocessing::Function>::NAME, "square");
/// # let _ = halve;
/// ```
///
/// The name is that of a unit struct, which no variable or parameter can have where it is in scope: "let bindings cannot shadow
/// unit structs", E0530, says the compiler. Where a variable wants the name, the function is best in a module, and called by its path:
///
/// ```compile_fail,E0530
/// multiprocessing::function! { fn square(number: u64) -> u64 { number * number } }
///
/// let square = 5_u64.pow(2);
/// ```
///
/// ```
/// mod work {
///     multiprocessing::function! { pub fn square(number: u64) -> u64 { number * number } }
/// }
///
/// let square = 5_u64.pow(2);
/// assert_eq!(<work::square as multiprocessing::Function>::NAME, "square");
/// # assert_eq!(square, 25);
/// ```
#[macro_export]
macro_rules! function {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> Result<$value:ty, $error:ty> $body:block) => {
        $crate::function!(@type [$(#[$meta])*] $visibility $name);
        $crate::function!(@call $name, ($($argument: $type),*), $value, {
            let body = || -> Result<$value, $error> { $body };
            body().map_err(|error| error.to_string())
        });
    };
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $value:ty $body:block) => {
        $crate::function!(@type [$(#[$meta])*] $visibility $name);
        $crate::function!(@call $name, ($($argument: $type),*), $value, {
            let body = || -> $value { $body };
            Ok(body())
        });
    };
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $crate::function! { $(#[$meta])* $visibility fn $name($($argument: $type),*) -> () $body }
    };
    (@type [$(#[$meta:meta])*] $visibility:vis $name:ident) => {
        $(#[$meta])*
        #[allow(non_camel_case_types, clippy::allow_attributes, reason = "it is used as the function that it is")]
        #[derive(Clone, Copy, Debug)]
        $visibility struct $name;
    };
    (@call $name:ident, ($argument:ident: $type:ty), $value:ty, $body:block) => {
        $crate::function!(@implement $name, $argument, $type, $value, $body);
    };
    (@call $name:ident, ($($argument:ident: $type:ty),*), $value:ty, $body:block) => {
        $crate::function!(@implement $name, ($($argument,)*), ($($type,)*), $value, $body);
    };
    (@implement $name:ident, $argument:pat, $type:ty, $value:ty, $body:block) => {
        impl $crate::Function for $name {
            const NAME: &'static str = stringify!($name);
            type Setup = ();
            type Argument = $type;
            type Value = $value;

            fn open((): ()) -> Result<Self, String> {
                Ok($name)
            }

            fn call(&mut self, $argument: $type, _: &$crate::Context<'_>) -> Result<$value, String> {
                $body
            }
        }
    };
}

/// The whole of a worker program: its `main`, with the identity of the build and the functions that it can run.
///
/// ```no_run
/// multiprocessing::function! {
///     pub fn square(number: u64) -> u64 {
///         number * number
///     }
/// }
///
/// multiprocessing::worker_main!("build 1"; square);
/// ```
#[macro_export]
macro_rules! worker_main {
    ($identity:expr; $($function:ty),* $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::worker_main($crate::Registry::new($identity)$(.function::<$function>())*)
        }
    };
}
