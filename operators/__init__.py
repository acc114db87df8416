"""The engine as stream operators: the steps of the flow, its inputs, and what runs between claim and emit.

Steps (`steps/`) wrap an engine call each. `step_guard` runs every one of them under the quarantine of poison records
(`poison_quarantine`) and with retries while a store is unreachable (`store_retry`). `finisher` has a thread, in which
topics are created while the flow continues; `result_order` says when a result may leave. `sources/` are the inputs.
Nothing is decided here about submissions: that is the engine's.
"""
