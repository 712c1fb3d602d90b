# Writes the description that is installed with an extension. Category, tier and the place of the sources come from
# the catalogue, as variables on the command line.
if(NOT "${EXTENSION_NAME}" STREQUAL "${PROJECT_NAME}")
  message(FATAL_ERROR "The extension ${EXTENSION_NAME} has another name than its project ${PROJECT_NAME}")
endif()
foreach(_file IN ITEMS EXTENSION_README_FILE EXTENSION_LICENSE_FILE)
  if(NOT EXISTS "${${_file}}")
    message(FATAL_ERROR "${_file} names a file that is not there: ${${_file}}")
  endif()
endforeach()

string(REPLACE ";" " " _depends "${EXTENSION_DEPENDS}")
set(_description
  "scm git"
  "scmurl ${EXTENSION_WC_URL}"
  "scmrevision ${EXTENSION_WC_REVISION}"
  "depends ${_depends}"
  "build_subdirectory ${EXTENSION_BUILD_SUBDIRECTORY}"
  "homepage ${EXTENSION_HOMEPAGE}"
  "contributors ${EXTENSION_CONTRIBUTORS}"
  "category ${EXTENSION_CATEGORY}"
  "iconurl ${EXTENSION_ICONURL}"
  "status ${EXTENSION_STATUS}"
  "tier ${EXTENSION_TIER}"
  "description ${EXTENSION_DESCRIPTION}"
  "screenshoturls ${EXTENSION_SCREENSHOTURLS}"
  "enabled ${EXTENSION_ENABLED}"
  )
string(REPLACE ";" "\n" _description "${_description}")
file(WRITE "${CMAKE_BINARY_DIR}/${EXTENSION_NAME}.s4ext" "${_description}\n")
install(FILES "${CMAKE_BINARY_DIR}/${EXTENSION_NAME}.s4ext"
  DESTINATION "${Slicer_INSTALL_ROOT}${Slicer_SHARE_DIR}" COMPONENT RuntimeLibraries)
