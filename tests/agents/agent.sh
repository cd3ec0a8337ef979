#!/bin/bash
# Stands in for `claude` (the default) and for `codex` (when its first argument is `exec`) in tests: it prints what they
# print, line by line, and does what the last word of its prompt says. It writes down its arguments, its
# prompt and some of its variables in its working directory, where it can.

printf '%s\n' "$*" >>args.log 2>/dev/null
# Where it may write to its own folder alone.
{ mkdir -p "$HOME/.claude" && printf '%s\n' "$*" >>"$HOME/.claude/args.log"; } 2>/dev/null
prompt=$(cat)
printf '%s\n===\n' "$prompt" >>prompts.log 2>/dev/null
env | grep -E '^(SOME_|ANTHROPIC_|CLAUDECODE|HOME=)' >variables.log 2>/dev/null
word=${prompt##*[[:space:]]}

session=0f3c9f4e-52a4-4f0e-9d36-1f6f6a2c7b10
resumed=
previous=
for argument in "$@"; do
  [[ $previous == --resume || $previous == resume ]] && resumed=$argument
  previous=$argument
done
[[ -n $resumed ]] && session=$resumed

say() { printf '%s\n' "$1"; }

usage='{"input_tokens":4,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"output_tokens":2,"service_tier":"standard"}'
init() {
  say '{"type":"system","subtype":"init","cwd":"/w","session_id":"'$session'","tools":["Task","Bash","Read"],"mcp_servers":[],"model":"claude-sonnet-4-5","permissionMode":"acceptEdits","slash_commands":[],"apiKeySource":"none","uuid":"u1"}'
}
# message, block
assistant() {
  say '{"type":"assistant","message":{"id":"'$1'","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":['"$2"'],"stop_reason":null,"stop_sequence":null,"usage":'$usage'},"parent_tool_use_id":null,"session_id":"'$session'","uuid":"u2"}'
}
tool() { assistant "$1" '{"type":"tool_use","id":"'$2'","name":"Bash","input":{"command":"ls","description":"list"}}'; }
tool_result() {
  say '{"type":"user","message":{"role":"user","content":[{"tool_use_id":"'$1'","type":"tool_result","content":"'"$2"'","is_error":false}]},"parent_tool_use_id":null,"session_id":"'$session'","uuid":"u3","tool_use_result":{"stdout":"x"}}'
}
# subtype, is_error, text
result() {
  say '{"type":"result","subtype":"'$1'","is_error":'$2',"duration_ms":3100,"duration_api_ms":2900,"num_turns":2,"result":"'"$3"'","session_id":"'$session'","total_cost_usd":0.0123,"usage":{"input_tokens":8,"cache_creation_input_tokens":200,"cache_read_input_tokens":2000,"output_tokens":50},"modelUsage":{},"permission_denials":[],"uuid":"u4"}'
}
work() {
  init
  say '{"type":"stream_event","event":{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I look. "}},"parent_tool_use_id":null,"session_id":"'$session'","uuid":"u5"}'
  assistant m1 '{"type":"thinking","thinking":"where is it","signature":"sig"}'
  assistant m1 '{"type":"text","text":"I look. "}'
  tool m1 toolu_1
  say '{"type":"assistant","message":{"id":"sub1","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"a sub-agent"}],"usage":'$usage'},"parent_tool_use_id":"toolu_1","session_id":"'$session'","uuid":"u6"}'
  tool_result toolu_1 'a.txt\nb.txt'
  assistant m2 '{"type":"text","text":"There are two files."}'
  result success false 'There are two files.'
}

thread() { say '{"type":"thread.started","thread_id":"'$session'"}'; say '{"type":"turn.started"}'; }
codex() {
  case $word in
    auth)
      thread
      say '{"type":"error","message":"Reconnecting... 1/5"}'
      say '{"type":"turn.failed","error":{"message":"unexpected status 401 Unauthorized: Missing bearer or basic authentication in header"}}'
      exit 1
      ;;
    lost)
      [[ -n $resumed ]] && { echo "Error: thread/resume: thread/resume failed: no rollout found for thread id $resumed" >&2; exit 1; }
      ;;
    error)
      thread
      say '{"type":"error","message":"stream disconnected before completion"}'
      exit 1
      ;;
  esac
  thread
  say '{"type":"item.completed","item":{"id":"item_0","type":"reasoning","text":"**Looking**"}}'
  say '{"type":"item.started","item":{"id":"item_1","type":"command_execution","command":"bash -lc ls","aggregated_output":"","exit_code":null,"status":"in_progress"}}'
  say '{"type":"item.completed","item":{"id":"item_1","type":"command_execution","command":"bash -lc ls","aggregated_output":"a.txt\n","exit_code":2,"status":"failed"}}'
  say '{"type":"item.completed","item":{"id":"item_2","type":"file_change","changes":[{"path":"a.txt","kind":"update"}],"status":"completed"}}'
  say '{"type":"item.started","item":{"id":"item_3","type":"mcp_tool_call","server":"docs","tool":"search","arguments":{"q":"x"},"result":null,"error":null,"status":"in_progress"}}'
  say '{"type":"item.completed","item":{"id":"item_3","type":"mcp_tool_call","server":"docs","tool":"search","arguments":{"q":"x"},"result":{"content":[{"type":"text","text":"found"}],"structured_content":null},"error":null,"status":"completed"}}'
  say '{"type":"item.started","item":{"id":"item_4","type":"todo_list","items":[{"text":"look","completed":false}]}}'
  say '{"type":"item.completed","item":{"id":"item_5","type":"web_search","query":"rust"}}'
  say '{"type":"item.completed","item":{"id":"item_4","type":"todo_list","items":[{"text":"look","completed":true}]}}'
  say '{"type":"item.completed","item":{"id":"item_6","type":"agent_message","text":"One file is changed."}}'
  total=$((1 + ${#resumed}))
  [[ $total -gt 1 ]] && total=2
  say '{"type":"turn.completed","usage":{"input_tokens":'$((total * 1000))',"cached_input_tokens":'$((total * 400))',"output_tokens":'$((total * 30))',"reasoning_output_tokens":0}}'
}

if [[ $1 == exec ]]; then
  codex
  exit
fi

case $word in
  auth)
    init
    say '{"type":"assistant","message":{"id":"m0","type":"message","role":"assistant","model":"<synthetic>","content":[{"type":"text","text":"Invalid API key · Please run /login"}],"usage":{"input_tokens":0,"output_tokens":0}},"parent_tool_use_id":null,"session_id":"'$session'","error":"authentication_failed","uuid":"u7"}'
    result success true 'Invalid API key · Please run /login'
    exit 1
    ;;
  limited)
    init
    say '{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1763870400,"rateLimitType":"five_hour"},"session_id":"'$session'","uuid":"u8"}'
    result success true "You have hit your limit"
    exit 1
    ;;
  lost)
    if [[ -n $resumed ]]; then
      say '{"type":"result","subtype":"error_during_execution","is_error":true,"duration_ms":0,"num_turns":0,"session_id":"other","total_cost_usd":0,"usage":{"input_tokens":0,"output_tokens":0},"errors":["No conversation found with session ID: '$resumed'"]}'
      exit 1
    fi
    ;;
  nothing) exit 0 ;;
  dies)
    echo "TypeError: it broke" >&2
    exit 7
    ;;
  broken)
    init
    say 'this is no JSON'
    say '{"type":"assistant","message":'
    say '42'
    say '{"no":"type"}'
    ;;
  flood)
    init
    yes '{"type":"tool_progress","tool_use_id":"x","elapsed_time_seconds":1}' | head -n 200000
    head -c 50000000 /dev/zero | tr '\0' x
    echo
    yes 'noise' | head -n 200000 >&2
    ;;
  many)
    init
    for n in 1 2 3 4 5 6 7 8; do
      tool "m$n" "toolu_$n"
      tool_result "toolu_$n" done
    done
    touch all-eight
    ;;
  stops)
    work >/dev/null
    init
    assistant m1 '{"type":"text","text":"So far."}'
    tool m1 toolu_1
    tool_result toolu_1 x
    result error_max_turns true ''
    exit 1
    ;;
  hangs)
    trap 'echo interrupted >>signals.log' INT
    init
    tool m1 toolu_1
    setsid sleep 1000 &
    echo $! >sleeper.pid
    echo $$ >agent.pid
    while :; do sleep 1000 & wait; done
    ;;
  quiet)
    echo $$ >agent.pid
    exec sleep 1000
    ;;
  careful)
    trap 'assistant m1 "{\"type\":\"text\",\"text\":\"I was asked to stop.\"}"; result error_during_execution true interrupted; exit 0' INT
    init
    tool m1 toolu_1
    touch begun
    while [ ! -e never ]; do sleep 0.05; done
    ;;
  writes)
    echo x >inside.txt
    echo x >../outside.txt
    echo x >"$HOME/outside.txt"
    echo x >"$HOME/.amplifier/outside.txt"
    mkdir -p "$HOME/.claude/projects" && echo x >"$HOME/.claude/projects/kept"
    ;;
  settles)
    mkdir -p "$HOME/.claude/hooks" && echo '{"hooks":{}}' >"$HOME/.claude/settings.json"
    echo x >"$HOME/.claude/hooks/later.sh"
    ;;
esac
work
