"""The only place, with infra/ and stacks/, that speaks to the outside: each driver small, typed, raising our errors."""
