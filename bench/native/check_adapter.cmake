include(${CMAKE_CURRENT_LIST_DIR}/check.cmake)
# 1 row: forward; 9 rows: forward, backward, both; each against two floors
check_run("both +layer with lora +16 +3 +9 " 8 "gemm" "floor" "rank;us;floor_us;ratio"
          --dim 16 --rank 3 --rows 1 --rows 9 --seconds 0)
check_refusals(adapter "--dim 0" "--rank x" "--seconds -1" "--rows")
