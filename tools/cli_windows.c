/* Windows: a program's beginning and end; see cli_os.h. */
#include "cli_os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include <shellapi.h>

#include "cli.h"
#include "os.h"

int main(int argc, char **argv);
int wmain(int argc, wchar_t **wide);

int _dowildcard = -1; /* the shell here leaves patterns such as *.nii.gz to the program */

static UINT console_before;

static void console_restore(void) {
  SetConsoleOutputCP(console_before);
}

static char *utf8(const wchar_t *wide) {
  const int room = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
  char *text = malloc((size_t)room + 1);
  if (text) WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, room, NULL, NULL);
  return text;
}

/* Where a program begins, before main: words are UTF-8 with slashes between folders, and what is
 * printed and piped are bytes. */
int wmain(int argc, wchar_t **wide) {
  char **argv = calloc((size_t)argc + 1, sizeof *argv);
  bool good = argv;
  for (int i = 0; good && i < argc; i++) {
    good = (argv[i] = utf8(wide[i]));
    if (good) vn_os_slashes(argv[i]);
  }
  if (!good) return VN_E_MEMORY;
  for (int fd = 0; fd < 3; fd++) _setmode(fd, O_BINARY);
  if ((console_before = GetConsoleOutputCP())) {
    SetConsoleOutputCP(CP_UTF8);
    atexit(console_restore);
  }
  return main(argc, argv);
}

/* ---- the end ---- */

/* The process has one of these; the system's thread reads it. */
static struct {
  const char *name;
  bool (*taken)(void);
} end;

/* In a thread of the system's, beside all others. Unfinished files are doomed: the system removes
 * them when the process is gone. */
static BOOL WINAPI on_event(DWORD event) {
  (void)event;
  if (end.taken()) return TRUE;
  char text[100];
  DWORD written;
  const int length = snprintf(text, sizeof text, "%.60s: interrupted\n", end.name);
  WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)length, &written, NULL);
  TerminateProcess(GetCurrentProcess(), VN_E_CANCELLED);
  return TRUE;
}

void cli_os_interrupts(const char *name, bool (*taken)(void), void (*clean)(void)) {
  (void)clean;
  end.name = name;
  end.taken = taken;
  SetConsoleCtrlHandler(on_event, TRUE);
}

void cli_os_streams(void) {} /* descriptors do not take their places */

bool cli_os_terminal(void) {
  const HANDLE console = GetStdHandle(STD_ERROR_HANDLE);
  DWORD mode;
  return GetConsoleMode(console, &mode) &&
         SetConsoleMode(console, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

/* ---- where, and other programs ---- */

char *cli_os_program(void) {
  wchar_t path[4096];
  const DWORD length = GetModuleFileNameW(NULL, path, 4096);
  char *text = length && length < 4096 ? utf8(path) : NULL;
  return text ? vn_os_slashes(text) : NULL;
}

char *cli_os_cache(void) {
  return getenv("LOCALAPPDATA");
}

/* Every word in quotes, which no name of a file can hold. */
static wchar_t *command_line(char *const argv[]) {
  size_t room = 1;
  for (size_t i = 0; argv[i]; i++) room += strlen(argv[i]) + 3;
  wchar_t *line = malloc(room * sizeof *line), *at = line;
  for (size_t i = 0; line && argv[i]; i++) {
    *at++ = L'"';
    at += MultiByteToWideChar(CP_UTF8, 0, argv[i], (int)strlen(argv[i]), at, (int)room);
    *at++ = L'"';
    *at++ = argv[i + 1] ? L' ' : L'\0';
  }
  return line;
}

/* Inherits the one handle and the standard ones. */
static HANDLE program_start(const wchar_t *path, wchar_t *line, HANDLE errors) {
  STARTUPINFOEXW how = {.StartupInfo = {.cb = sizeof how, .dwFlags = STARTF_USESTDHANDLES}};
  PROCESS_INFORMATION child = {0};
  SIZE_T room = 0;
  how.StartupInfo.hStdError = errors;
  InitializeProcThreadAttributeList(NULL, 1, 0, &room);
  how.lpAttributeList = malloc(room);
  if (!how.lpAttributeList || !InitializeProcThreadAttributeList(how.lpAttributeList, 1, 0, &room))
    return NULL;
  UpdateProcThreadAttribute(how.lpAttributeList, 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &errors,
                            sizeof errors, NULL, NULL);
  CreateProcessW(path, line, NULL, NULL, TRUE, EXTENDED_STARTUPINFO_PRESENT, NULL, NULL,
                 &how.StartupInfo, &child);
  DeleteProcThreadAttributeList(how.lpAttributeList);
  free(how.lpAttributeList);
  if (child.hThread) CloseHandle(child.hThread);
  return child.hProcess;
}

/* Beside this program and nowhere else: Windows would look in the present folder first. */
int cli_os_run(const char *path, char *const argv[], char *said, size_t room, int *status) {
  SECURITY_ATTRIBUTES inherited = {.nLength = sizeof inherited, .bInheritHandle = TRUE};
  HANDLE from, to;
  wchar_t program[4096];
  DWORD got, at = 0, ended = 0;
  if (!path || !MultiByteToWideChar(CP_UTF8, 0, path, -1, program, 4090)) return ENOENT;
  wcscat(program, L".exe");
  if (GetFileAttributesW(program) == INVALID_FILE_ATTRIBUTES) return ENOENT;
  wchar_t *line = command_line(argv);
  if (!line || !CreatePipe(&from, &to, &inherited, 0)) return ENOMEM;
  SetHandleInformation(from, HANDLE_FLAG_INHERIT, 0);
  const HANDLE child = program_start(program, line, to);
  CloseHandle(to);
  free(line);
  while (at + 1 < room && ReadFile(from, said + at, (DWORD)room - 1 - at, &got, NULL) && got)
    at += got;
  said[at] = '\0';
  if (child) WaitForSingleObject(child, INFINITE);
  *status = child && GetExitCodeProcess(child, &ended) ? (int)ended : -1;
  CloseHandle(from);
  if (child) CloseHandle(child);
  return child ? 0 : EACCES;
}
