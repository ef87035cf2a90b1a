include(${CMAKE_CURRENT_LIST_DIR}/check.cmake)
check_run("swiglu_backward .* of a copy" 2 "" "" "gbps;floor_gbps;ratio" --op swiglu --quick --threads 1)
check_run("8 x +8 x +8 .* GFLOP/s" 4 "" "provider" "columns;gflops" --op gemm_f32 --quick)
check_refusals(layers "--threads 0" "--op nonsense" "--onednn")
