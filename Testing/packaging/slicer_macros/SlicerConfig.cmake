# A stand-in for the build system of Slicer, to test how an extension of Python files is packaged without a build of
# Slicer: cmake -DSlicer_DIR=<this folder>. Names, folders and refusals are those of Slicer 5.12; what an extension of
# Python files does not use is missing.
set(Slicer_VERSION_MAJOR 5)
set(Slicer_VERSION_MINOR 12)
set(Slicer_REVISION 34000)
set(Slicer_OS linux)
set(Slicer_ARCHITECTURE amd64)
set(Slicer_USE_PYTHONQT ON)

set(Slicer_CMAKE_DIR "${CMAKE_CURRENT_LIST_DIR}")
set(Slicer_USE_FILE "${Slicer_CMAKE_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${Slicer_CMAKE_DIR}/SlicerExtensionGenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${Slicer_CMAKE_DIR}/SlicerExtensionCPack.cmake")

set(_version "Slicer-${Slicer_VERSION_MAJOR}.${Slicer_VERSION_MINOR}")
set(Slicer_SHARE_DIR "share/${_version}")
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/${_version}/qt-scripted-modules")
set(Slicer_INSTALL_ROOT "./")
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR "${Slicer_INSTALL_ROOT}${Slicer_QTSCRIPTEDMODULES_LIB_DIR}")
