# A tool chain for machines without compilers: the project enables C and C++, but nothing is compiled.
foreach(_language IN ITEMS C CXX)
  set(CMAKE_${_language}_COMPILER "${CMAKE_COMMAND}")
  set(CMAKE_${_language}_COMPILER_ID_RUN TRUE)
  set(CMAKE_${_language}_COMPILER_FORCED TRUE)
endforeach()
