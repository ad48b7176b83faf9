# A software bill of materials (CycloneDX 1.5, https://cyclonedx.org) of installed files: each with its
# SHA-256, and whose code is in them or is loaded by them. `cmake --install` writes one of everything
# that it installed, debian_tidy.cmake one for each package.
#
# vn_sbom(NAME OUTPUT ROOT FILES): FILES below ROOT, which their names leave out. What a program or
# library loads is read from it; a library that VN_SBOM_PARTS does not know is listed all the same.
cmake_policy(VERSION 3.22) # scripts of an installation have none

# How a foreign library is known: soname, name, version, licence, name in the CPE dictionary.
# "-": it is compiled in, from its headers.
function(vn_sbom_part soname name version licence cpe)
  string(REGEX REPLACE "^[0-9]+:|[-+~].*$" "" version "${version}")
  set(VN_SBOM_PARTS ${VN_SBOM_PARTS} "${soname}|${name}|${version}|${licence}|${cpe}" PARENT_SCOPE)
endfunction()

function(vn_sbom_component part out)
  string(REPLACE "|" ";" field "${part}")
  list(GET field 0 soname)
  list(GET field 1 name)
  list(GET field 2 version)
  list(GET field 3 licence)
  list(GET field 4 cpe)
  set(how dynamic)
  if(soname STREQUAL "-")
    set(how "compiled in")
  endif()
  set(text "{\"type\": \"library\", \"bom-ref\": \"${name}\", \"name\": \"${name}\"")
  if(version)
    string(APPEND text ", \"version\": \"${version}\", \"purl\": \"pkg:generic/${name}@${version}\"")
    if(cpe)
      string(APPEND text ", \"cpe\": \"cpe:2.3:a:${cpe}:${version}:*:*:*:*:*:*:*\"")
    endif()
  endif()
  if(licence)
    string(APPEND text ", \"licenses\": [{\"license\": {\"id\": \"${licence}\"}}]")
  endif()
  string(APPEND text ", \"properties\": [{\"name\": \"vnet:linkage\", \"value\": \"${how}\"}]}")
  set(${out} "    ${text}" PARENT_SCOPE)
endfunction()

# The sonames that an ELF file loads; none for another file.
function(vn_sbom_needs file out)
  set(needs "")
  file(READ "${file}" magic LIMIT 4 HEX)
  if(magic STREQUAL "7f454c46")
    execute_process(COMMAND "${VN_SBOM_READELF}" -d "${file}" OUTPUT_VARIABLE dynamic
                    COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*" lines "${dynamic}")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE ".*\\[(.*)\\].*" "\\1" soname "${line}")
      list(APPEND needs "${soname}")
    endforeach()
  endif()
  set(${out} "${needs}" PARENT_SCOPE)
endfunction()

function(vn_sbom name output root files)
  set(components "")
  set(refs "")
  set(sonames "-")
  list(SORT files)
  foreach(file IN LISTS files)
    if(IS_SYMLINK "${file}" OR "${file}" STREQUAL "${output}")
      continue()
    endif()
    file(SHA256 "${file}" hash)
    vn_sbom_needs("${file}" needs)
    list(APPEND sonames ${needs})
    file(RELATIVE_PATH path "${root}" "${file}")
    list(APPEND components "    {\"type\": \"file\", \"bom-ref\": \"file:${path}\", \"name\": \"${path}\", \
\"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"${hash}\"}]}")
  endforeach()
  list(REMOVE_DUPLICATES sonames)
  list(FILTER sonames EXCLUDE REGEX "^libvnet") # our own
  foreach(soname IN LISTS sonames)
    set(known "")
    foreach(part IN LISTS VN_SBOM_PARTS)
      string(REGEX REPLACE "\\|.*" "" begin "${part}")
      string(FIND "${soname}" "${begin}" at)
      if(at EQUAL 0)
        list(APPEND known "${part}")
      endif()
    endforeach()
    if(NOT known)
      string(REGEX REPLACE "\\.so.*" "" short "${soname}")
      set(known "${soname}|${short}|||")
    endif()
    foreach(part IN LISTS known)
      vn_sbom_component("${part}" text)
      string(REGEX REPLACE ".*\"bom-ref\": \"([^\"]*)\".*" "\"\\1\"" ref "${text}")
      if(NOT ref IN_LIST refs)
        list(APPEND components "${text}")
        list(APPEND refs "${ref}")
      endif()
    endforeach()
  endforeach()
  string(TIMESTAMP now "%Y-%m-%dT%H:%M:%SZ" UTC) # of SOURCE_DATE_EPOCH, where that is set
  string(SHA256 hex "${name} ${VN_SBOM_VERSION} ${components}")
  string(REGEX REPLACE "^(........)(....).(...).(...)(............).*"
         "\\1-\\2-5\\3-8\\4-\\5" serial "${hex}")
  list(JOIN components ",\n" components)
  list(JOIN refs ", " refs)
  set(own "\"name\": \"${name}\", \"version\": \"${VN_SBOM_VERSION}\"")
  file(WRITE "${output}" "{
  \"bomFormat\": \"CycloneDX\",
  \"specVersion\": \"1.5\",
  \"serialNumber\": \"urn:uuid:${serial}\",
  \"version\": 1,
  \"metadata\": {
    \"timestamp\": \"${now}\",
    \"component\": {\"type\": \"application\", \"bom-ref\": \"${name}\", ${own}, \
\"licenses\": [{\"license\": {\"id\": \"Apache-2.0\"}}]}
  },
  \"components\": [
${components}
  ],
  \"dependencies\": [{\"ref\": \"${name}\", \"dependsOn\": [${refs}]}]
}
")
endfunction()
