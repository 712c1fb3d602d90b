# Copies the files of a scripted module, or of a Python library, to where the application finds them in the build tree,
# and installs that folder. Files that are not listed stay behind, as they do in Slicer.
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(_module "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(_module_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule() does not know: ${_module_UNPARSED_ARGUMENTS}")
  endif()
  if("${_module_NAME}" STREQUAL "" OR "${_module_SCRIPTS}" STREQUAL "")
    message(FATAL_ERROR "slicerMacroBuildScriptedModule() needs NAME and SCRIPTS")
  endif()

  set(_build_dir "${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
  if(_module_WITH_SUBDIR)
    # The folder is named after the source folder, not after the module.
    get_filename_component(_subdir "${CMAKE_CURRENT_SOURCE_DIR}" NAME)
    install(DIRECTORY "${_build_dir}/${_subdir}"
      DESTINATION "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}" COMPONENT RuntimeLibraries)
    string(APPEND _build_dir "/${_subdir}")
  else()
    install(DIRECTORY "${_build_dir}/"
      DESTINATION "${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}" COMPONENT RuntimeLibraries)
  endif()

  set(_scripts)
  foreach(_file IN LISTS _module_SCRIPTS)
    # Slicer lets the ending .py be left out.
    get_filename_component(_ending "${_file}" EXT)
    if(NOT _ending MATCHES "py")
      string(APPEND _file ".py")
    endif()
    list(APPEND _scripts "${_file}")
  endforeach()

  set(_copied)
  foreach(_file IN LISTS _scripts _module_RESOURCES)
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${_file}")
      message(FATAL_ERROR "slicerMacroBuildScriptedModule(${_module_NAME}): there is no file ${_file}")
    endif()
    add_custom_command(OUTPUT "${_build_dir}/${_file}"
      COMMAND ${CMAKE_COMMAND} -E copy "${CMAKE_CURRENT_SOURCE_DIR}/${_file}" "${_build_dir}/${_file}"
      DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${_file}")
    list(APPEND _copied "${_build_dir}/${_file}")
  endforeach()
  add_custom_target(Copy${_module_NAME}PythonFiles ALL DEPENDS ${_copied})

  if(BUILD_TESTING AND _module_WITH_GENERIC_TESTS)
    _slicer_test(py_nomainwindow_qSlicer${_module_NAME}ModuleGenericTest)
  endif()
endmacro()

# A test inside the application, which is not there: only its name is kept, as a test that does nothing.
function(slicer_add_python_unittest)
  cmake_parse_arguments(_test "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${_test_SCRIPT}")
    message(FATAL_ERROR "slicer_add_python_unittest(): there is no file ${_test_SCRIPT}")
  endif()
  get_filename_component(_name "${_test_SCRIPT}" NAME_WE)
  _slicer_test(py_${_test_TESTNAME_PREFIX}${_name})
endfunction()

function(_slicer_test name)
  add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E true)
endfunction()
