# Completion for vnetc and the programs vnet-*: options are what --help lists.

_vnet() {
  local word=$2 before=$3 values=
  case $before in
  --isa)
    values='avx512 avx2 neon portable'
    case ${1##*/} in vnet-train) ;; vnet-plan) values+=' ref best' ;; *) values+=' ref' ;; esac
    ;;
  --weighting) values='gaussian constant' ;;
  --scores-type) values='uint16 float32' ;;
  --mirror) values='none d h w dh dw hw dhw' ;;
  --topology) values='vnet vnet-2016 vnet-caffe monai mattmacy any' ;;
  --member) values='vnet vnet-2016 vnet-caffe monai mattmacy' ;;
  --conv) values='auto winograd lean fft direct xnnpack ref' ;;
  --tail) values='none softmax logsoftmax' ;;
  --act) values='prelu elu' ;;
  --slopes) values='layer channel' ;;
  --optimizer) values='adamw sgd' ;;
  --loss) values='dice sigmoid multi' ;;
  esac
  if [[ -n $values ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word")
  elif [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$("$1" --help 2>/dev/null | sed '1,/^$/d' |
      grep -oE '(^| )--?[a-zA-Z][a-z0-9-]*' | sort -u)" -- "$word")
  else
    compopt -o default -o filenames
    COMPREPLY=()
  fi
}
complete -F _vnet vnetc vnet-run vnet-plan vnet-bench vnet-model vnet-train
